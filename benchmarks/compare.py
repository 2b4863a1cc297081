"""Times captool, tcpdump, tcptrace and tshark on the same capture, in turn, and prints ratios and peak memory.

The capture is made by make_capture.py (deterministic) and kept in the temporary directory. Every program runs as a whole
process, start-up included, with the file in the page cache; a round runs each once, so that a busy machine disturbs all
alike. Told are the best times, and ratios to tcpdump: of the best times, and the median of those in each round, which
a machine that is now fast and now slow disturbs less. captool is the installed one, or that of `--python`; a program
that is not installed is left out.

    python benchmarks/compare.py --packets 4000000 --rounds 5
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from operator import truediv
from pathlib import Path
from statistics import median

from make_capture import write_capture

# Without the command line: reader, decoder and tracker alone.
TRACK = """
import sys
from captool.capture.reader import CaptureReader
from captool.packets.decode import Decoder
from captool.tcp.tracker import Tracker
decoder, tracker = Decoder(), Tracker()
with CaptureReader(sys.argv[1:]) as capture:
    for frames in capture.chunks(decoder):
        tracker.add(frames, decoder.decode(frames))
        for piece in tracker.take_pieces():
            tracker.stop_stream(piece.connection)
    tracker.finish()
    print(capture.summary(decoder, tracker).packets, len(tracker.take_closed()))
"""


def programs(capture: Path, python: str) -> dict[str, list[str]]:
    """Name -> command of everything that can be run here; tcpdump first, it is the measure."""
    # Started by root, tcpdump would give what it writes to to the user it becomes: even /dev/null.
    captool = str(Path(python).parent / "captool")
    as_root = ["-Z", "root"] if os.geteuid() == 0 else []
    commands = {
        "tcpdump -w /dev/null": ["tcpdump", *as_root, "-r", str(capture), "-w", "/dev/null"],
        "captool, one process": [captool, "analyze", str(capture), "--jobs", "1", "-o", os.devnull],
        "captool, all cores": [captool, "analyze", str(capture), "-o", os.devnull],
        "captool, tracker only": [python, "-c", TRACK, str(capture)],
        "a bare pass in C": [str(bare_pass()), str(capture)],
        "cat": ["cat", str(capture)],
        "tcptrace": ["tcptrace", "-n", str(capture)],
        "tshark -z conv,tcp": ["tshark", "-q", "-z", "conv,tcp", "-r", str(capture)],
    }
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def bare_pass() -> Path:
    """The program of bare_pass.c, compiled unless there is no compiler."""
    program = Path(tempfile.gettempdir()) / "captool-benchmark-bare-pass"
    if compiler := shutil.which("cc"):
        subprocess.run([compiler, "-O3", "-o", program, Path(__file__).with_name("bare_pass.c")], check=True)
    return program


def run(command: list[str]) -> tuple[float, int, int]:
    """Seconds, peak memory in KiB and exit code of a whole process."""
    begin = time.perf_counter()
    null = os.open(os.devnull, os.O_RDWR)
    # Not inside a source tree: the current directory would hide the installed, compiled package.
    actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    os.close(null)
    return time.perf_counter() - begin, usage.ru_maxrss, os.waitstatus_to_exitcode(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="interpreter with the compiled captool")
    parser.add_argument("--skip", action="append", default=[], help="leave out programs whose name contains this")
    parser.add_argument("--capture", type=Path, help="measure this file instead of a made one")
    options = parser.parse_args()
    capture = options.capture
    if capture is None:
        capture = Path(tempfile.gettempdir()) / f"captool-benchmark-{options.packets}-{options.connections}.pcap"
        if not capture.exists():
            partial = capture.with_suffix(".partial")
            write_capture(partial, options.packets, options.connections)
            partial.rename(capture)
    os.chdir(tempfile.gettempdir())
    commands = programs(capture.resolve(), options.python)
    commands = {name: command for name, command in commands.items() if not any(part in name for part in options.skip)}
    times: dict[str, list[float]] = {name: [] for name in commands}
    peaks = dict.fromkeys(commands, 0)
    run(["cat", str(capture)])  # into the page cache
    for _ in range(options.rounds):
        for name, command in commands.items():
            seconds, memory, code = run(command)
            if code not in {0, 1}:  # captool leaves with 1 where there are findings
                sys.exit(f"{name}: exit code {code}")
            times[name].append(seconds)
            peaks[name] = max(memory, peaks[name])
    measure = times.get("tcpdump -w /dev/null")
    size = capture.stat().st_size
    print(f"{capture.name}: {size / 1e9:.2f} GB, {options.rounds} rounds")
    print(f"{'program':<24}{'seconds':>9}{'/ tcpdump':>11}{'median':>9}{'GB/s':>7}{'peak MB':>9}")
    for name, of_rounds in times.items():
        ratio = f"{min(of_rounds) / min(measure):.2f}" if measure else "-"
        middle = f"{median(map(truediv, of_rounds, measure)):.2f}" if measure else "-"
        seconds = min(of_rounds)
        print(f"{name:<24}{seconds:>9.2f}{ratio:>11}{middle:>9}{size / 1e9 / seconds:>7.2f}{peaks[name] / 1024:>9.0f}")
    for other in ("tcptrace", "tshark -z conv,tcp"):
        if other in times and "captool, one process" in times:
            ours = times["captool, one process"]
            middle = median(map(truediv, times[other], ours))
            print(f"captool, one process: {min(times[other]) / min(ours):.1f} times as fast as {other}, {middle:.1f} times in the median")


if __name__ == "__main__":
    main()
