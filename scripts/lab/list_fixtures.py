#!/usr/bin/env python3
"""Write fixtures/README.md: what each case is, where it comes from, and the checksum of each of its files."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures"

HEAD = """\
# Captures of the real thing

Each folder is one case: captures, the key material, `recipe` (the command that plays it again, as root, in network namespaces of
its own; `scripts/lab/`), `truth.json` (what really happened, from dockerd itself and from the client) and `expected.json` (the runs of
`captool analyze` that are checked, with the part of the report that matters).

All of them were played in the lab: a real dockerd 20.10 in a namespace, a client in another, a router between them whose firewall (nftables
with conntrack) forgets idle connections and drops what it no longer knows, and captool's own recorder on both sides. `server.pcap` is
recorded on the server's side of the firewall, `client.pcap` on the client's. Keys and certificates were made for the recording, as
docker-machine makes them, and used for nothing else.

Written by `scripts/lab/list_fixtures.py`; the date is that of the first packet.
"""

ABOUT = {
    "silent-drop": "The story itself, at its real time scale: the firewall forgets after 600 s, the job is silent for 601 s, nobody sends keepalive "
    "probes. The output after the silence is sent again and again and never arrives; a second connection, on which the client asks for the "
    "container's state every 30 s, stays healthy. TLS 1.2 with RSA key exchange and AES-CBC (encrypt-then-MAC, extended master secret).",
    "keepalive-saves": "The same kind of job, silent for 25 s behind a firewall that forgets after 10 s, saved by a client that sends a probe every 4 s: "
    "all output arrives. TLS 1.2 with RSA key exchange and AES-GCM.",
    "idle-but-healthy": "A job that is silent for 12 s without keepalive, behind a firewall that would forget only after 600 s: nothing is wrong. "
    "TLS 1.2 with RSA key exchange and AES-CBC.",
    "just-below": "The same job behind a firewall that forgets after 10 s, silent for 8 s: all output arrives.",
    "just-above": "And silent for 12 s: the output after the silence is lost, while a second connection stays busy and healthy.",
    "keepalive-server": "A job that is silent for 25 s behind a firewall that forgets after 10 s, saved by a server that sends a probe every 4 s.",
    "keepalive-both": "The unmodified docker client and dockerd, which both probe every 15 s, keep a job alive that is silent for 50 s behind a firewall "
    "that forgets after 20 s. TLS 1.3; the key log was taken from the running client.",
    "keepalive-too-slow": "Probes that come too late: every 20 s, behind a firewall that forgets after 10 s. The client's probe is dropped like the "
    "output that follows.",
    "reset-on-reuse": "A firewall that forgets after 6 s and answers what it no longer knows with a reset, in the client's name: the server hears that "
    "the client is gone, the client hears nothing at all.",
    "half-close": "The docker client without TLS ends its standard input, which half-closes the attach connection. conntrack remembers such a one only for "
    "the time it gives to half-closed ones, here 5 s; the job is silent for 10 s, and the rest is lost.",
    "client-timeout": "A client that waits 5 s for output and then leaves, while the job is silent for 8 s.",
    "dead-peer": "Both sides probe every 2 s; after 5 s the path between them dies. After 9 unanswered probes each kernel resets its end, and hears nothing "
    "of the other's.",
    "stopped-reader": "A client that is stopped (SIGSTOP) for 7 s while the job prints 59 kB: its window closes, the server probes it, and everything "
    "arrives when it continues.",
    "daemon-closed": "The TLS front is killed (SIGKILL) while the job prints: its kernel closes the connection without a TLS close_notify.",
    "capture-ended-first": "The recording is stopped while the job is silent: nothing is known of the end.",
    "rotated": "The same packets recorded twice: `server.pcap` in one file, and `rotated-*.pcap` by tcpdump's own rotation, whose files change in the silence between "
    "two probes.",
    "any-interface": "On the router: `any.pcap` from all interfaces (`-i any`, each packet once coming and once going), and each of its two interfaces in a file.",
    "lossy-path": "A path that loses 3 % of the packets and delays a quarter of the others, so that they are overtaken, while a job prints 73 kB. Everything arrives.",
    "mtu-black-hole": "The way to the client carries 1300 bytes and the router's ICMP that says so is filtered: the job's output vanishes in large packets, while "
    "the last and small one arrives, and other connections work. The docker client and dockerd without TLS.",
    "mtu-black-hole-handshake": "The same path under TLS: the server's certificate does not get through, and the client gives the handshake up after 10 s.",
    "many-requests": "Twenty-two exchanges one after the other on one connection without TLS: answers of every size, an upload, a download and a followed "
    "log. Tests take packets out of it.",
    "many-requests-tls13": "The same under TLS 1.3, with the client's key log.",
    "ecdhe-no-secrets": "TLS 1.2 with ECDHE, and only the private keys: they fit the certificate, and cannot open the session.",
    "ecdhe-key-log": "The same kind of session with the client's key log, which opens it.",
    "stock-docker-tls13": "The official docker client 28.2.2, unmodified, runs a container on stock dockerd: TLS 1.3, three connections. The key log was taken "
    "from the running client with a uprobe event on `crypto/tls.(*Config).writeKeyLog`.",
}


def main() -> None:
    lines = [HEAD]
    for folder in sorted(path.parent for path in FIXTURES.glob("*/recipe")):
        capture = min(folder.glob("*.pcap"), key=lambda path: path.name != "server.pcap")
        seconds = int.from_bytes(capture.read_bytes()[24:28], "little")
        recipe = (folder / "recipe").read_text().splitlines()[0]
        lines += [
            f"\n## {folder.name}\n",
            ABOUT[folder.name],
            "",
            f"Origin: `{recipe}`, {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}.\n",
            "```",
        ]
        for path in listed(folder):
            lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(FIXTURES).as_posix()}")
        lines.append("```")
    (FIXTURES / "README.md").write_text("\n".join(lines) + "\n")


def listed(folder: Path) -> list[Path]:
    """The recorded files: everything but what people edit."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "expected.json")


if __name__ == "__main__":
    main()
