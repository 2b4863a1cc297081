"""At which rate of packets does a recorder drop the first one? captool record, tcpdump and dumpcap on a veth pair, rate by rate.

    sudo python benchmarks/recording.py [--sizes 64,512,1514] [--rates 100k,200k,...] [--seconds 4] [--rounds 1] [--real-time]

Every run has network namespaces of its own, connected by a veth pair: frames of one size (bytes, Ethernet header included) to TCP port 2376
are sent on one end and recorded on the other. The sender gives the kernel one large TCP segment for a hundred frames, which the kernel cuts
(software GSO): some 2 million frames a second from one processor. The rate "max" is as fast as it can. `offered` is what was sent in a
second, `received` what the recorder wrote and what the kernel dropped for it together, `written` is counted in its file, `processor` are
seconds of user and system of the recorder. With --real-time the sender (on processor 0) and the recorder (on the others) run before
everything else on the machine, so that what else runs matters little; without it, all share all processors. Needs root, tcpdump, dumpcap.
"""

import argparse
import ctypes
import fcntl
import mmap
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

PORT = 2376
BATCH = 100  # frames for one system call
BUFFER_MIB = 32  # of the kernel, for every recorder: what captool record asks for
HANDOVER_S = 1.5  # after the last packet: what the kernel still holds comes up to a second late
READY_S = 20.0
SOL_PACKET, PACKET_VNET_HDR = 263, 15  # linux/if_packet.h
SIOCETHTOOL, ETHTOOL_STSO = 0x8946, 0x1F  # linux/sockios.h, linux/ethtool.h
RATES = "200k,400k,600k,800k,1M,1.2M,1.5M,max"


class Row(NamedTuple):
    """One run: packets, and packets per second."""

    offered: float
    sent: int
    received: int
    written: int
    dropped: int
    processor_s: float


def frame(size: int, segments: int) -> bytes:
    """A virtio_net_hdr, and an Ethernet frame that the kernel cuts into so many frames of `size` bytes, each a TCP segment to PORT."""
    headers, payload = 54, (size - 54) * segments
    cut = struct.pack("<BBHHHH", 1, 1, headers, size - headers, 34, 16)  # checksum to be made; TCP over IPv4 (linux/virtio_net.h)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + payload, 1, 0x4000, 64, 6, 0, bytes((10, 77, 1, 2)), bytes((10, 77, 2, 2)))
    tcp = struct.pack("!HHIIBBHHH", 40000, PORT, 1, 1, 0x50, 0x10, 1000, 0, 0)
    return cut + bytes((2, 0, 0, 0, 0, 2)) + bytes((2, 0, 0, 0, 0, 1)) + b"\x08\x00" + ip + tcp + b"x" * payload


def send(interface: str, size: int, rate: int | None, seconds: float) -> tuple[int, float]:
    """Send for so long; how many frames went out, in how many seconds. A rate of None is as fast as possible."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sender.bind((interface, 0))
        value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STSO, 0))  # else the large frame arrives as it is
        fcntl.ioctl(sender, SIOCETHTOOL, struct.pack("16sQ", interface.encode(), ctypes.addressof(value)))
        segments = min(BATCH, 60_000 // (size - 54))
        data, sent = frame(size, segments), 0
        begin = time.perf_counter()
        while (now := time.perf_counter() - begin) < seconds:
            if rate is not None and (early := sent / rate - now) > 0:
                time.sleep(early)
            sender.send(data)
            sent += segments
        return sent, time.perf_counter() - begin


@contextmanager
def veth_pair() -> Iterator[tuple[str, str]]:
    """Two namespaces with one end of a pair each, `out` and `in`; removed at the end."""
    names = (f"captool-out-{os.getpid()}", f"captool-in-{os.getpid()}")
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        pair = ["link", "add", "out", "type", "veth", "peer", "name", "in", "netns", names[1]]
        subprocess.run(["ip", "-n", names[0], *pair], check=True)
        for name, end in zip(names, ("out", "in"), strict=True):
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"], check=False)
            subprocess.run(["ip", "-n", name, "link", "set", end, "up"], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def commands(file: Path) -> dict[str, list[str]]:
    """The recorders, with the same buffer; tcpdump and dumpcap as an experienced user would start them."""
    expression, tcpdump = f"tcp port {PORT}", ["tcpdump", "-i", "in", "-n", "-Z", "root"]
    captool = [sys.executable, "-P", "-m", "captool.cli.main", "record", "-i", "in", "-w", str(file), "--machines", str(file.parent)]
    return {
        "captool record": captool,
        "captool record, ring": [*captool, "-C", "100MB", "-G", "1s", "-W", "1000"],
        f"tcpdump -B {BUFFER_MIB << 10}": [*tcpdump, "-B", str(BUFFER_MIB << 10), "-w", str(file), expression],
        "tcpdump": [*tcpdump, "-w", str(file), expression],
        f"dumpcap -B {BUFFER_MIB}": ["dumpcap", "-q", "-P", "-i", "in", "-B", str(BUFFER_MIB), "-f", expression, "-w", str(file)],
    }


def run(recorder: str, size: int, rate: int | None, seconds: float, folder: Path, *, real_time: bool) -> Row:
    """One recorder at one rate."""
    with veth_pair() as (out, inside), tempfile.TemporaryDirectory(dir=folder, prefix="recording-") as scratch:
        file, said = Path(scratch, "t.pcap"), Path(scratch, "said")
        others = ",".join(map(str, range(1, os.cpu_count() or 1)))
        ahead = ["chrt", "-f", "20", "taskset", "-c", others] if real_time and others else []
        command = ["ip", "netns", "exec", inside, *ahead, *commands(file)[recorder]]
        with said.open("wb") as sink:
            process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=scratch, start_new_session=True)
        try:
            wait_for_start(process, said)
            sent, took = sender(out, size, rate, seconds, real_time=real_time)
            time.sleep(HANDOVER_S)
        finally:
            process.send_signal(signal.SIGINT)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        text = said.read_text(errors="replace")
        if process.returncode:
            raise SystemExit(f"{recorder} ended with {process.returncode}: {text}")
        written = sum(count(each) for each in Path(scratch).glob("t*.pcap"))
        dropped = dropped_of(text)
        return Row(sent / took, sent, written + dropped, written, dropped, used.ru_utime + used.ru_stime)


def sender(out: str, size: int, rate: int | None, seconds: float, *, real_time: bool) -> tuple[int, float]:
    """`send` in a process of its own, in the namespace."""
    ahead = ["chrt", "-f", "20", "taskset", "-c", "0"] if real_time else []
    words = [sys.executable, __file__, "--send", f"{size},{rate or 0},{seconds}"]
    done = subprocess.run(["ip", "netns", "exec", out, *ahead, *words], check=True, capture_output=True, text=True)
    sent, took = done.stdout.split()
    return int(sent), float(took)


def wait_for_start(process: "subprocess.Popen[bytes]", said: Path) -> None:
    """Until the recorder has said that it records."""
    deadline = time.monotonic() + READY_S
    while not re.search(r"recording on|listening on|Capturing on", said.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"it did not begin to record: {said.read_text(errors='replace')}")
        time.sleep(0.05)
    time.sleep(0.5)


def count(file: Path) -> int:
    """Packets in a pcap file."""
    packets, position = 0, 24
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while position + 16 <= len(content):
            position += 16 + int.from_bytes(content[position + 8 : position + 12], sys.byteorder)
            packets += position <= len(content)
    return packets


def dropped_of(text: str) -> int:
    """What the kernel dropped, as each of them says it."""
    for pattern in (r"the kernel dropped (\d+) packets", r"(\d+) packets? dropped by kernel", r"dropped on interface '?in'?: \d+/(\d+)"):
        if found := re.search(pattern, text):
            return int(found[1])
    return 0


def rate_of(word: str) -> int | None:
    """Packets in a second: 250000, 250k, 1M, or max."""
    factor = {"k": 1000, "M": 1_000_000}.get(word[-1], 1)
    return None if word == "max" else int(float(word.rstrip("kM")) * factor)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="64,512,1514", help="bytes of a frame")
    options.add_argument("--rates", default=RATES, help="packets in a second, with k or M, or max")
    options.add_argument("--seconds", type=float, default=4, help="of sending in each run")
    options.add_argument("--rounds", type=int, default=1, help="runs of each recorder at each rate; every one is a row")
    options.add_argument("--recorders", default="", help="only those whose name begins with one of these, separated by commas")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files go while they are counted")
    options.add_argument("--real-time", action="store_true", help="before everything else on the machine (chrt -f)")
    options.add_argument("--send", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.send:
        size, rate, seconds = chosen.send.split(",")
        print(*send("out", int(size), int(rate) or None, float(seconds)))
        return
    missing = [name for name in ("tcpdump", "dumpcap", "ip", "chrt", "taskset") if shutil.which(name) is None]
    if missing or os.geteuid():
        raise SystemExit(f"needs {', '.join([*missing, *(['root'] if os.geteuid() else [])])}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {datetime.now(UTC):%Y-%m-%d}\n")
    print("| recorder | frame | asked for | offered/s | sent | received | written | dropped by kernel | processor |")
    print("|---|---|---|---|---|---|---|---|---|")
    names = [name for name in commands(Path("x")) if name.startswith(tuple(chosen.recorders.split(",")))]
    first: dict[tuple[str, int], str] = {}
    for size in map(int, chosen.sizes.split(",")):
        for word in chosen.rates.split(","):
            for name in names * chosen.rounds:
                row = run(name, size, rate_of(word), chosen.seconds, chosen.folder, real_time=chosen.real_time)
                counts = " | ".join(f"{number:,}" for number in (row.sent, row.received, row.written, row.dropped))
                print(f"| {name} | {size} | {word} | {row.offered:,.0f} | {counts} | {row.processor_s:.1f} |", flush=True)
                if row.dropped:
                    first.setdefault((name, size), f"{row.offered:,.0f}")
    print("\n| recorder | frame | first drop at, packets/s |\n|---|---|---|")
    for size in map(int, chosen.sizes.split(",")):
        for name in names:
            print(f"| {name} | {size} | {first.get((name, size), 'none')} |")


if __name__ == "__main__":
    main()
