"""Records the decryption matrix: real sessions of three TLS stacks on loopback in a network namespace of its own, in one capture.

    unshare -n python record.py FOLDER      writes trace.pcap, *.log, rsa.key, ec.key and cases.json into FOLDER

Every case has a server port of its own, by which its connections are found again.
"""

import base64
import contextlib
import json
import os
import queue
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

ANSWER = bytes(range(256)) * 80
NO_EXTENDED_MASTER_SECRET, NO_ENCRYPT_THEN_MAC = 1 << 0, 1 << 19  # SSL_OP_...: Python has no names for them
VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass
class Case:
    """What is negotiated. `suite` is the stack's own name; `options` say what is special; `sessions` connections are made."""

    stack: str
    version: str
    suite: str
    options: list[str] = field(default_factory=list)
    port: int = 0
    to_server: str = ""
    to_client: str = ""
    sessions: int = 1

    @property
    def name(self) -> str:
        return "/".join([self.stack, self.version, self.suite, *self.options])

    def says(self, to_server: bytes, to_client: bytes) -> None:
        self.to_server, self.to_client = (base64.b64encode(said).decode() for said in (to_server, to_client))


# OpenSSL, through Python's ssl


def openssl_suites() -> list[dict]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return [suite for suite in context.get_ciphers() if suite["auth"] in {"auth-rsa", "auth-ecdsa"} and not re.search("PSK|SRP", suite["name"])]


def openssl_cases() -> list[Case]:
    suites = openssl_suites()
    cases = [Case("openssl", "1.2", suite["name"]) for suite in suites]
    old = [suite["name"] for suite in suites if suite["protocol"] in {"SSLv3", "TLSv1.0"}]
    cases += [Case("openssl", version, suite) for version in ("1.0", "1.1") for suite in old]
    for options in (["no-ems"], ["no-etm"], ["no-ems", "no-etm"], ["mutual"], ["resume", "no-tickets"], ["resume"], ["resume", "no-ems"]):
        for version, suite in (("1.2", "AES128-SHA"), ("1.2", "AES256-GCM-SHA384"), ("1.2", "ECDHE-RSA-AES128-SHA256"), ("1.0", "AES256-SHA")):
            cases.append(Case("openssl", version, suite, options))
    for options in ([], ["mutual"], ["retry"], ["resume"], ["ec"]):
        cases.append(Case("openssl", "1.3", "default", options))
    return cases


def openssl_contexts(case: Case, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    kind = "ec" if "ECDSA" in case.suite or "ec" in case.options else "rsa"
    server.load_cert_chain(folder / f"{kind}.crt", folder / f"{kind}.key")
    server.load_dh_params(folder / "dh.pem")
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.keylog_filename = str(folder / "openssl.log")
    for context in (server, client):
        context.minimum_version = context.maximum_version = VERSIONS[case.version]
        context.set_ciphers(("DEFAULT" if case.version == "1.3" else case.suite) + ":@SECLEVEL=0")
        for option, bits in (("no-ems", NO_EXTENDED_MASTER_SECRET), ("no-etm", NO_ENCRYPT_THEN_MAC), ("no-tickets", ssl.OP_NO_TICKET)):
            if option in case.options:
                context.options |= bits
    if "retry" in case.options:
        server.set_ecdh_curve("secp384r1")
    if "mutual" in case.options:
        client.load_cert_chain(folder / "rsa.crt", folder / "rsa.key")
        server.load_verify_locations(folder / "rsa.crt")
        server.verify_mode = ssl.CERT_REQUIRED
    return client, server


def run_openssl(case: Case, folder: Path) -> None:
    request = f"request {case.name}\n".encode()
    case.says(request + b"exit\n", ANSWER + b"bye\n")
    client_context, server_context = openssl_contexts(case, folder)
    case.sessions = 2 if "resume" in case.options else 1
    listener = socket.create_server(("127.0.0.1", case.port))

    def serve() -> None:
        for _ in range(case.sessions):
            raw, _ = listener.accept()
            with server_context.wrap_socket(raw, server_side=True) as connection:
                receive(connection, len(request))
                connection.sendall(ANSWER)
                receive(connection, 5)
                connection.sendall(b"bye\n")
                connection.unwrap()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    session = None
    for _ in range(case.sessions):
        with client_context.wrap_socket(socket.create_connection(("127.0.0.1", case.port)), session=session) as connection:
            connection.sendall(request)
            receive(connection, len(ANSWER))
            session = connection.session
            connection.sendall(b"exit\n")
            receive(connection, 4)
            connection.unwrap()
    thread.join(10)
    listener.close()


def receive(connection: ssl.SSLSocket, count: int) -> None:
    while count:
        got = connection.recv(count)
        if not got:
            raise ConnectionError("closed too early")
        count -= len(got)


# The programs of OpenSSL and GnuTLS, talking to themselves: what they are told to type is what crosses


def typed(server: list[str], client: list[str], lines: list[tuple[bytes, bytes]], port: int, environment: dict) -> None:
    """Start a server, then a client that is told the lines one by one, each after what the one before it was to bring back.

    A command of s_client (one letter) brings nothing back, and must be read by itself: it gets half a second.
    """
    said = b""
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
        wait_for(port)
        with subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as talking:
            heard: queue.Queue = queue.Queue()
            threading.Thread(target=pump, args=(talking.stdout.fileno(), heard), daemon=True).start()
            for line, back in lines:
                talking.stdin.write(line)
                talking.stdin.flush()
                if not back:
                    time.sleep(0.5)
                until = time.monotonic() + 10
                while back not in said and time.monotonic() < until:
                    with contextlib.suppress(queue.Empty):
                        said += heard.get(timeout=0.1)
            talking.stdin.close()
            try:
                talking.wait(1)
            except subprocess.TimeoutExpired:
                talking.terminate()
        serving.terminate()
    if lines[-1][1] not in said:
        raise ConnectionError(said.decode(errors="replace")[-600:])


def pump(descriptor: int, heard: queue.Queue) -> None:
    with contextlib.suppress(OSError):
        while part := os.read(descriptor, 4096):
            heard.put(part)


def wait_for(port: int) -> None:
    """Until the server listens, without connecting: that would be a connection of the capture."""
    wanted = f":{port:04X} "
    for _ in range(500):
        if any(wanted in line.split("rem_address")[-1][:32] and " 0A " in line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()):
            return
        time.sleep(0.01)
    raise ConnectionError(f"nothing listens on port {port}")


S_CLIENT_CASES = [
    Case("s_client", "1.3", suite, options)
    for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256")
    for options in ([], ["key-update"])
] + [
    Case("s_client", "1.2", "AES128-SHA256", ["renegotiation"]),
    Case("s_client", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", ["renegotiation"]),
    Case("s_client", "1.2", "PSK-AES128-GCM-SHA256", ["psk"]),
    Case("s_client", "1.2", "ECDHE-PSK-CHACHA20-POLY1305", ["psk"]),
    Case("s_client", "1.2", "ADH-AES256-GCM-SHA384", ["anonymous"]),
]  # fmt: skip


def run_s_client(case: Case, folder: Path) -> None:
    lines = [f"request {case.name}\n".encode(), b"second line\n"]
    server = ["openssl", "s_server", "-accept", f"127.0.0.1:{case.port}", "-rev", "-quiet", "-dhparam", str(folder / "dh.pem"),
              "-cert", str(folder / "rsa.crt"), "-key", str(folder / "rsa.key")]  # fmt: skip
    client = ["openssl", "s_client", "-connect", f"127.0.0.1:{case.port}", "-keylogfile", str(folder / "s_client.log")]
    chosen = ["-ciphersuites", case.suite, "-tls1_3"] if case.version == "1.3" else ["-cipher", f"{case.suite}:@SECLEVEL=0", "-tls1_2"]
    server += chosen
    client += chosen
    if "psk" in case.options:
        server += ["-psk", "a1b2c3d4e5f60718", "-nocert"]
        client += ["-psk", "a1b2c3d4e5f60718"]
    if "renegotiation" in case.options:
        server.append("-client_renegotiation")
    back = [line[:-1][::-1] + b"\n" for line in lines]
    case.says(b"".join(lines), b"".join(back))
    special = {"key-update": b"K\n", "renegotiation": b"R\n"}
    inserted = [special[option] for option in case.options if option in special]
    exchanged = list(zip(lines, back, strict=True))
    typed(server, client, [exchanged[0], *((command, b"") for command in inserted), exchanged[1]], case.port, dict(os.environ))


GNUTLS = {
    "3DES": "RSA:+3DES-CBC:+SHA1", "RC4": "RSA:+ARCFOUR-128:+SHA1", "RC4-MD5": "RSA:+ARCFOUR-128:+MD5", "NULL": "RSA:+NULL:+SHA256",
    "AES-128-CCM": "RSA:+AES-128-CCM:+AEAD", "AES-256-CCM-8": "RSA:+AES-256-CCM-8:+AEAD", "AES-256-CBC-SHA256": "RSA:+AES-256-CBC:+SHA256",
    "AES-128-GCM": "RSA:+AES-128-GCM:+AEAD", "CHACHA20": "ECDHE-RSA:+CHACHA20-POLY1305:+AEAD", "CAMELLIA-128-CBC": "RSA:+CAMELLIA-128-CBC:+SHA256",
    "CAMELLIA-256-GCM": "RSA:+CAMELLIA-256-GCM:+AEAD", "DHE-AES-256-GCM": "DHE-RSA:+AES-256-GCM:+AEAD",
}  # fmt: skip
GNUTLS_13 = ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305", "AES-128-CCM", "AES-128-CCM-8")


def gnutls_cases() -> list[Case]:
    cases = [Case("gnutls", "1.2", suite) for suite in GNUTLS]
    cases += [Case("gnutls", version, suite) for version in ("1.0", "1.1") for suite in ("3DES", "RC4")]
    cases += [Case("gnutls", "1.2", "AES-256-CBC-SHA256", ["no-etm"]), Case("gnutls", "1.2", "AES-128-GCM", ["no-ems"])]
    return cases + [Case("gnutls", "1.3", suite) for suite in GNUTLS_13]


def run_gnutls(case: Case, folder: Path) -> None:
    if case.version == "1.3":
        words = f"NONE:+VERS-TLS1.3:+GROUP-ALL:+SIGN-ALL:+{case.suite}:+AEAD:+CTYPE-ALL"
    else:
        words = f"NONE:+VERS-TLS{case.version}:+COMP-NULL:+GROUP-ALL:+SIGN-ALL:+CTYPE-ALL:+{GNUTLS[case.suite]}:%VERIFY_ALLOW_SIGN_WITH_SHA1"
    words += "".join({"no-etm": ":%NO_ETM", "no-ems": ":%NO_SESSION_HASH"}.get(option, "") for option in case.options)
    line = f"request {case.name}\n".encode()
    case.says(line, line)
    server = ["gnutls-serv", "--echo", "--port", str(case.port), "--priority", words, "--quiet",
              "--x509certfile", str(folder / "rsa.crt"), "--x509keyfile", str(folder / "rsa.key")]  # fmt: skip
    client = ["gnutls-cli", "--insecure", "--no-ca-verification", "--port", str(case.port), "--priority", words, "127.0.0.1"]
    typed(server, client, [(line, line)], case.port, {**os.environ, "SSLKEYLOGFILE": str(folder / f"gnutls-{case.port}.log")})


# Go's crypto/tls: suites by number (crypto/tls cipher_suites.go of Go 1.19)

GO_RSA = {"RC4-SHA": 0x0005, "3DES": 0x000A, "AES128-SHA": 0x002F, "AES256-SHA": 0x0035, "AES128-SHA256": 0x003C, "AES128-GCM": 0x009C, "AES256-GCM": 0x009D}
GO_ECDHE = {"ECDHE-RC4": 0xC011, "ECDHE-3DES": 0xC012, "ECDHE-AES128-SHA": 0xC013, "ECDHE-AES256-SHA": 0xC014, "ECDHE-AES128-SHA256": 0xC027,
            "ECDHE-AES128-GCM": 0xC02F, "ECDHE-AES256-GCM": 0xC030, "ECDHE-CHACHA20": 0xCCA8}  # fmt: skip
GO_ECDSA = {"ECDSA-AES128-SHA": 0xC009, "ECDSA-AES256-GCM": 0xC02C, "ECDSA-CHACHA20": 0xCCA9}
GO_NUMBERS = {**GO_RSA, **GO_ECDHE, **GO_ECDSA, "default": 0}


def go_cases() -> list[Case]:
    cases = [Case("go", "1.2", suite) for suite in (*GO_RSA, *GO_ECDHE)] + [Case("go", "1.2", suite, ["ec"]) for suite in GO_ECDSA]
    cases += [Case("go", version, suite) for version in ("1.0", "1.1") for suite in ("RC4-SHA", "3DES", "AES256-SHA", "ECDHE-AES128-SHA")]
    cases += [Case("go", "1.2", suite, options) for suite in ("AES128-GCM", "ECDHE-AES128-GCM") for options in (["mutual"], ["resume"])]
    return cases + [Case("go", "1.3", "default", options) for options in ([], ["mutual"], ["resume"], ["retry"])]


def run_go(cases: list[Case], folder: Path) -> None:
    lines = []
    for case in cases:
        request = f"request {case.name}\n".encode()
        case.says(request + b"exit\n", ANSWER + b"bye\n")
        case.sessions = 2 if "resume" in case.options else 1
        version = {"1.0": 0x0301, "1.1": 0x0302, "1.2": 0x0303, "1.3": 0x0304}[case.version]
        curve = 24 if "retry" in case.options else 0
        lines.append(f"{case.name} {case.port} {version} {GO_NUMBERS[case.suite]} {curve} {','.join(case.options) or '-'}\n")
    program = folder / "sessions"
    environment = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    environment.setdefault("GOCACHE", str(folder / "go-cache") if "HOME" not in os.environ else str(Path.home() / ".cache/go-build"))
    subprocess.run(["go", "build", "-o", program, Path(__file__).parent / "sessions.go"], check=True, env=environment)
    subprocess.run([program, folder], input="".join(lines).encode(), check=True, timeout=60)


def make_identities(folder: Path) -> None:
    for kind, algorithm in (("rsa", ["rsa:2048"]), ("ec", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])):
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", *algorithm, "-keyout", folder / f"{kind}.key", "-out", folder / f"{kind}.crt",
                        "-days", "30", "-subj", "/O=root.runner-1"], check=True, capture_output=True)  # fmt: skip
    parameters = ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", folder / "dh.pem"]
    subprocess.run(parameters, check=True, capture_output=True)


def guarded(run, case: Case, folder: Path) -> str | None:
    try:
        run(case, folder)
    except (OSError, ssl.SSLError, subprocess.SubprocessError) as fault:
        return f"{case.name}: {fault}"
    return None


def main() -> None:
    folder = Path(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    make_identities(folder)
    openssl, go, gnutls = openssl_cases(), go_cases(), gnutls_cases()
    cases = [*openssl, *go, *S_CLIENT_CASES, *gnutls]
    for port, case in enumerate(cases, 20000):
        case.port = port
    tcpdump = subprocess.Popen(["tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-U", "-w", folder / "trace.pcap", "tcp"], stderr=subprocess.PIPE)
    tcpdump.stderr.readline()
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(run_go, go, folder)]
        outcomes = [pool.submit(guarded, run_s_client, case, folder) for case in S_CLIENT_CASES]
        outcomes += [pool.submit(guarded, run_gnutls, case, folder) for case in gnutls]
        outcomes += [pool.submit(guarded, run_openssl, case, folder) for case in openssl]
        faults = [fault for fault in (outcome.result() for outcome in outcomes) if fault]
        for one in waiting:
            one.result()
    time.sleep(2)  # the kernel hands a block of packets over at the latest after one second
    tcpdump.terminate()
    said = tcpdump.communicate(timeout=10)[1].decode()
    if "\n0 packets dropped by kernel" not in said:
        faults.append(f"tcpdump: {said}")
    (folder / "cases.json").write_text(json.dumps({"cases": [{**asdict(case), "name": case.name} for case in cases], "faults": faults}, indent=1))


if __name__ == "__main__":
    main()
