"""Seeds that hold private keys: made of a fixture's throw-away keys when they are needed, and not kept in the corpus.

    python -m fuzz.fixture_keys TARGET DIRECTORY    writes those of a target
"""

import base64
import sys
from pathlib import Path

MACHINE = Path(__file__).parent.parent.parent / "fixtures" / "ecdhe-key-log" / "machines"


def key_seeds() -> dict[str, bytes]:
    """TARGET/NAME -> content."""
    machine = next(MACHINE.iterdir())
    pem = (machine / "server-key.pem").read_bytes()
    der = base64.b64decode(pem.split(b"-----")[2])
    files = [(machine / name).read_bytes() for name in ("config.json", "ca.pem", "server.pem", "cert.pem", "server-key.pem", "key.pem")]
    return {
        "key_file/key": pem,
        "key_file/der-key": der,
        "pem_file/key": b"\1" + der,
        "machine/whole": b"".join(len(content).to_bytes(2) + content for content in files),
    }


if __name__ == "__main__":
    target, directory = sys.argv[1], Path(sys.argv[2])
    for name, content in key_seeds().items():
        if name.startswith(f"{target}/"):
            (directory / f"{Path(name).name}-of-a-fixture").write_bytes(content)
