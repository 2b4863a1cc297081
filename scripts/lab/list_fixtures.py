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
    "ecdhe-no-secrets": "TLS 1.2 with ECDHE, and only the private keys: they fit the certificate, and cannot open the session.",
    "ecdhe-key-log": "The same kind of session with the client's key log, which opens it.",
    "stock-docker-tls13": "The official docker client 28.2.2, unmodified, runs a container on stock dockerd: TLS 1.3, three connections. The key log was taken "
    "from the running client with a uprobe event on `crypto/tls.(*Config).writeKeyLog`.",
}


def main() -> None:
    lines = [HEAD]
    for folder in sorted(path.parent for path in FIXTURES.glob("*/recipe")):
        capture = folder / "server.pcap"
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
