"""How short may a machine live for `captool harvest --watch` to keep its key?

    python benchmarks/harvest_watch.py [MACHINES] [LIFE_MS]...

Directories like docker-machine's are made and removed by a loop in a process of its own while the watch runs: mkdir, then the six files,
config.json by way of a temporary name, then LIFE_MS of rest, then rm -rf. A life is counted from the moment when the server's key is
closed. One at a time: the next begins when the last is gone. The server keys come out of a pool of twenty; a machine's is kept when the
bundle has it under the machine's name.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from docker_machine import NOW, certificates

POOL = 20
ORDER = ("ca.pem", "cert.pem", "key.pem", "server.pem", "server-key.pem")


def make_pool(folder: Path) -> list[Path]:
    """Directories with keys of their own."""
    pool = []
    for number in range(POOL):
        certificates().write_storage(folder / str(number), "m", "10.77.2.2", NOW)
        pool.append(folder / str(number) / "machines" / "m")
    return pool


def live(machines: Path, name: str, template: Path, life_s: float) -> None:
    """One machine from mkdir to rm."""
    home = machines / name
    home.mkdir(mode=0o700)
    (home / "config.json.tmp").write_bytes((template / "config.json").read_bytes())
    (home / "config.json.tmp").rename(home / "config.json")
    for file in ORDER:
        (home / file).write_bytes((template / file).read_bytes())
    time.sleep(life_s)
    shutil.rmtree(home)


def loop(machines: Path, pool: list[Path], count: int, life_s: float) -> None:
    """Machines one after the other."""
    for number in range(count):
        live(machines, f"runner-{number}", pool[number % POOL], life_s)


def run(pool: list[Path], count: int, life_ms: float) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory(prefix="harvest-") as scratch:
        machines, bundle = Path(scratch, "store", "machines"), Path(scratch, "keys")
        machines.mkdir(parents=True)
        command = [sys.executable, "-m", "captool.cli.main", "harvest", str(machines.parent), "--watch", "-o", str(bundle)]
        with Path(scratch, "said").open("w") as said:
            watch = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        time.sleep(2)
        if (child := os.fork()) == 0:
            loop(machines, pool, count, life_ms / 1000)
            os._exit(0)
        os.waitpid(child, 0)
        watch.send_signal(signal.SIGINT)
        watch.wait()
        kept = sum(has_key(bundle, f"runner-{number}", pool[number % POOL]) for number in range(count))
        index = json.loads((bundle / "manifest.json").read_text())
        removed = len({entry["machine"] for entry in index["machines"] if entry["removed"]})
        summary = Path(scratch, "said").read_text().splitlines()[-1].removeprefix("captool: ")
        return f"| {life_ms:g} ms | {count} | {kept} | {removed} | {summary} |"


def has_key(bundle: Path, name: str, template: Path) -> bool:
    """Whether any generation of a machine has its server key."""
    wanted = (template / "server-key.pem").read_bytes()
    return any(key.read_bytes() == wanted for key in bundle.glob(f"machines/{name}/*/server-key.pem"))


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    lives = [float(word) for word in sys.argv[2:]] or [200, 100, 50, 20, 10, 0]
    system = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    print(f"{system}, {datetime.now(UTC):%Y-%m-%d}\n")
    print("| life | machines | keys kept | removals recorded | captool's own summary |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="harvest-pool-") as folder:
        pool = make_pool(Path(folder))
        for life_ms in lives:
            print(run(pool, count, life_ms), flush=True)


if __name__ == "__main__":
    main()
