"""Key material in the form in which Wireshark and mitmproxy want it: commands that can be run as they are printed. No secret is shown."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from captool.key_table import RSA_CLIENT, RSA_SERVER, KeyRow, KeyTable
from captool.report.printable import printable

DOCKER_PORT: Final = 2376
LISTEN_PORT: Final = 12376
WHY_REVERSE: Final = """\
# The proxy variables (HTTPS_PROXY, ALL_PROXY) alone do not put mitmproxy between: for hijacked connections (attach, exec, build sessions)
# the Docker client dials the daemon itself, past them, and the daemon asks whoever connects for a client's certificate. In reverse mode
# mitmproxy is the daemon for the client and, with that certificate, the client for the daemon. It ends both TCP connections: keepalive
# probes and idle times on either side are its own, and it closes what was idle for 600 s. For those record the real one: captool record."""


def render_wireshark(table: KeyTable, named: Sequence[Path], traces: Sequence[Path]) -> str:
    """Lines of Wireshark's rsa_keys table, and a tshark command that uses every key and the key log."""
    keys = [_file(row, named) for row in table.keys if row.decrypts == RSA_SERVER]
    logs = [_file(row, named) for row in table.keys if row.kind == "key-log"]
    odd = [path for path in keys if not _fits_a_table(path)]
    rows = [f'"{path}",""' for path in keys if path not in odd]
    lines = [f"# {printable(str(path))}: the name does not fit into Wireshark's table; copy the file to a plain one" for path in odd]
    if rows:
        lines += ["# Wireshark: Preferences, RSA Keys (or append to the file rsa_keys in its configuration folder)", *rows, ""]
    if logs:
        lines += ["# Wireshark: Preferences, Protocols, TLS, (Pre)-Master-Secret log filename"]
        lines += [f"tls.keylog_file: {printable(str(logs[0]))}"]
        lines += [f"# one file only: also append {printable(str(log))} to it" for log in logs[1:]] + [""]
    if not keys and not logs:
        return "# no key here decrypts anything in Wireshark: it takes an RSA server key, or a key log (captool record --session-keys)\n"
    options = [word for row in rows for word in ("-o", f"uat:rsa_keys:{row}")] + (["-o", f"tls.keylog_file:{logs[0]}"] if logs else [])
    for trace in (traces or [Path("trace.pcap")]) if options else ():
        lines.append(shlex.join(["tshark", "-r", str(trace), "-d", f"tcp.port=={DOCKER_PORT},tls", *options, "-Y", "http"]))
    return _text(lines)


def render_mitmproxy(table: KeyTable, named: Sequence[Path]) -> str:
    """For each client key with a machine of known address: mitmproxy in reverse mode with that certificate, and the client's command."""
    lines = [WHY_REVERSE]
    for row in table.keys:
        if row.decrypts == RSA_CLIENT:
            lines += ["", *_reverse_mode(row, _file(row, named))]
    if len(lines) == 1:
        lines += ["", "# no client key (key.pem beside its cert.pem) here: without one the daemon refuses mitmproxy"]
    return _text(lines)


def _reverse_mode(row: KeyRow, key: Path) -> Iterator[str]:
    folder = key.parent
    ip = row.ip or "DAEMON-ADDRESS"
    host = f"[{ip}]" if ":" in ip else ip
    pair = f"{row.machine or 'client'}-client.pem"
    authority = ["--set", f"ssl_verify_upstream_trusted_ca={folder / 'ca.pem'}"] if (folder / "ca.pem").is_file() else []
    yield f"# {printable(row.machine or row.origin)}" + ("" if row.ip else ": its address is not known; put it in place of DAEMON-ADDRESS")
    yield f"(umask 077; cat {shlex.join([str(folder / 'cert.pem'), str(key)])} > {shlex.quote(pair)})"
    mode = ["--mode", f"reverse:https://{host}:{DOCKER_PORT}", "--listen-host", "127.0.0.1", "--listen-port", str(LISTEN_PORT)]
    yield shlex.join(["mitmdump", *mode, "--set", f"client_certs={pair}", *authority])
    yield f"docker --tlsverify --tlscacert ~/.mitmproxy/mitmproxy-ca-cert.pem -H tcp://127.0.0.1:{LISTEN_PORT} ps"


def _file(row: KeyRow, named: Iterable[Path]) -> Path:
    """The file of a row, absolute: its origin is relative to the directory that was named."""
    for path in named:
        if path.is_dir() and (path / row.origin).is_file():
            return (path / row.origin).absolute()
    return Path(row.origin).absolute()


def _fits_a_table(path: Path) -> bool:
    text = str(path)
    return text.isprintable() and '"' not in text and "\\" not in text


def _text(lines: Iterable[str]) -> str:
    return "\n".join(printable(line) for block in lines for line in block.split("\n")).rstrip() + "\n"
