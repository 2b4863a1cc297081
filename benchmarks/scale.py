"""How time and memory of `captool analyze` grow: with the length of a capture, with open connections, with connections one after the other,
and with a flood of SYNs that nobody answers.

Captures are made on the way and kept in the temporary directory. Every run is a whole process, start-up included, the file in the page
cache; the best time of the rounds counts, and the largest peak memory. `--python` names an interpreter with the compiled captool.

    python benchmarks/scale.py --packets 500000 --open 200000 --sequential 2000000 --syns 10000000
"""

import argparse
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compare import run
from make_capture import ACK, ETHERNET, FIN, START, SYN, write_capture

SERVER = bytes([10, 200, 0, 1])
GLOBAL_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
# side that sends, flags, bytes of its stream before it, bytes of the other's that it acknowledges; a SYN and a FIN count as one
OPENING = ((0, SYN, 0, 0), (1, SYN | ACK, 0, 1), (0, ACK, 1, 1))
CLOSING = ((0, FIN | ACK, 1, 1), (1, FIN | ACK, 1, 2), (0, ACK, 2, 2))
ISNS = (1000, 5000)


def packet(number: int, step: tuple[int, int, int, int], now_us: int) -> bytes:
    """A segment without payload of connection `number`; each has an end of its own at the client."""
    side, flags, sent, heard = step
    ends = [struct.pack(">IH", 0x0B000000 + number // 40000, 20000 + number % 40000), SERVER + struct.pack(">H", 2376)]
    source, destination = ends[side], ends[1 - side]
    header = struct.pack("<IIII", START + now_us // 1_000_000, now_us % 1_000_000, 54, 54)
    ip = struct.pack(">HHHHBBH", 0x4500, 40, (number * 4 + sent) & 0xFFFF or 1, 0x4000, 64, 6, 0)
    acknowledges = ISNS[1 - side] + heard if flags & ACK else 0
    tcp = struct.pack(">IIHHHH", ISNS[side] + sent, acknowledges, 0x5000 | flags, 501, 0, 0)
    return b"".join((header, ETHERNET, ip, source[:4], destination[:4], source[4:], destination[4:], tcp))


def open_at_once(count: int) -> Iterator[bytes]:
    """All connections are opened, and none is closed."""
    return (packet(number, step, number * 30 + at) for number in range(count) for at, step in enumerate(OPENING))


def one_after_the_other(count: int) -> Iterator[bytes]:
    """Each connection is opened and closed before the next one."""
    return (packet(number, step, number * 60 + at) for number in range(count) for at, step in enumerate(OPENING + CLOSING))


def flood(count: int) -> Iterator[bytes]:
    """Connections that are tried and never answered."""
    return (packet(number, OPENING[0], number * 2) for number in range(count))


def written(name: str, packets: Iterator[bytes]) -> Path:
    """The capture with these packets, made unless it is there."""
    path = Path(tempfile.gettempdir()) / f"captool-benchmark-{name}.pcap"
    if not path.exists():
        partial = path.with_suffix(".partial")
        with partial.open("wb", buffering=1 << 20) as file:
            file.write(GLOBAL_HEADER)
            file.writelines(packets)
        partial.rename(path)
    return path


def long_capture(packets: int) -> Path:
    """A capture of make_capture.py with 5,000 connections."""
    path = Path(tempfile.gettempdir()) / f"captool-benchmark-{packets}-5000.pcap"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write_capture(partial, packets, 5000)
        partial.rename(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=500_000, help="of the shortest capture; the others have 4 and 16 times as many")
    parser.add_argument("--open", type=int, default=200_000, help="connections open at once")
    parser.add_argument("--sequential", type=int, default=2_000_000, help="connections one after the other")
    parser.add_argument("--syns", type=int, default=10_000_000, help="SYNs of a flood, each of a connection of its own")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--python", default=sys.executable, help="interpreter with the compiled captool")
    options = parser.parse_args()
    cases = [(f"{factor} x {options.packets} packets", long_capture(factor * options.packets)) for factor in (1, 4, 16)]
    cases.append((f"{options.open} connections open", written(f"open-{options.open}", open_at_once(options.open))))
    for part in (4, 1):
        count = options.sequential // part
        cases.append((f"{count} one after the other", written(f"sequential-{count}", one_after_the_other(count))))
    cases.append((f"{options.syns} SYNs", written(f"syns-{options.syns}", flood(options.syns))))
    os.chdir(tempfile.gettempdir())
    print(f"{'capture':<34}{'GB':>6}{'seconds':>9}{'peak MB':>9}")
    for name, path in cases:
        command = [options.python, "-m", "captool", "analyze", str(path), "--jobs", options.jobs]
        results = [run(command) for _ in range(options.rounds)]
        if any(code not in {0, 1} for _, _, code in results):
            sys.exit(f"{name}: captool failed")
        size = path.stat().st_size / 1e9
        print(f"{name:<34}{size:>6.2f}{min(result[0] for result in results):>9.2f}{max(result[1] for result in results) / 1024:>9.0f}")


if __name__ == "__main__":
    main()
