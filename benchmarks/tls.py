"""Decryption measured: a Docker attach stream under TLS 1.2 with RSA key exchange and AES-128-GCM, read by captool and by tshark.

    python benchmarks/tls.py [--size 150MB] [--small-size 15MB] [--rounds 3] [--captool PATH] [--keep DIR]

The records are OpenSSL's own, the packets around them are made here: 1448 bytes a segment, an acknowledgement for every two; or
one record of 100 bytes a segment, as a chatty log sends them. tshark gets the same file and the same key, and it is checked
that it truly decrypts. Times are those of the whole process in the best round, on the clock and of the processor (captool reads ahead with
a thread of its own), memory is the peak of the process. Every round runs all of them, so that a machine that is now fast and now slow
treats them alike; beside the ratios of the best rounds stands the median of those in each round.
"""

import argparse
import contextlib
import os
import re
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import BinaryIO, Final, NamedTuple

from captool.units import parse_size

MSS: Final = 1448
START: Final = 1_700_000_000
ETHERNET: Final = bytes.fromhex("0200000000010200000000020800")
CLIENT: Final = (bytes([10, 77, 1, 2]), 41778)
SERVER: Final = (bytes([10, 77, 2, 2]), 2376)
SYN, PSH, ACK = 2, 8, 16
REQUEST: Final = (
    b"POST /v1.41/containers/8794e4598261/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED: Final = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
FRAME_HEADER: Final = 8


class Measured(NamedTuple):
    """Seconds on the clock and of the processor (user and system), peak memory (bytes) of a process, and what it printed."""

    seconds: float
    cpu: float
    memory: int
    output: str


class Wire:
    """Writes the packets of one connection."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.now_us = 0
        self.next = [1000, 5000]
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))

    def packet(self, direction: int, flags: int, payload: bytes = b"") -> None:
        self.now_us += 20
        source, target = (CLIENT, SERVER) if direction == 0 else (SERVER, CLIENT)
        length = 40 + len(payload)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 6, 0, source[0], target[0])
        acknowledged = self.next[1 - direction] if flags & ACK else 0
        tcp = struct.pack(">HHIIBBHHH", source[1], target[1], self.next[direction], acknowledged, 0x50, flags, 65000, 0, 0)
        seconds, microseconds = divmod(self.now_us, 1_000_000)
        record = struct.pack("<IIII", START + seconds, microseconds, 14 + length, 14 + length)
        self.file.write(b"".join((record, ETHERNET, ip, tcp, payload)))
        self.next[direction] = self.next[direction] + len(payload) + (1 if flags & SYN else 0) & 0xFFFFFFFF

    def send(self, direction: int, data: bytes) -> None:
        for number, start in enumerate(range(0, len(data), MSS)):
            self.packet(direction, PSH | ACK, data[start : start + MSS])
            if number % 2:
                self.packet(1 - direction, ACK)


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=root.runner-1", *files], check=True, capture_output=True
    )
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256:@SECLEVEL=0")
    return client, server


def make_capture(path: Path, folder: Path, size: int, record: int) -> int:
    """Write a capture of about `size` bytes whose records hold `record` bytes; gives the number of records of output."""
    client_context, server_context = contexts(folder)
    client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
    client, server = client_context.wrap_bio(client_in, client_out), server_context.wrap_bio(server_in, server_out, server_side=True)
    line = (b"0123456789abcdef" * (record // 16 + 1))[: record - FRAME_HEADER - 1] + b"\n"
    output = struct.pack(">BxxxI", 1, len(line)) + line
    records = 0
    with path.open("wb", buffering=1 << 20) as file:
        wire = Wire(file)

        def cross() -> None:
            for direction, source, target in ((0, client_out, server_in), (1, server_out, client_in)):
                if data := source.read():
                    wire.send(direction, data)
                    target.write(data)

        for direction, flags in ((0, SYN), (1, SYN | ACK), (0, ACK)):
            wire.packet(direction, flags)
        for _ in range(4):
            for end in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                cross()
        client.write(REQUEST)
        cross()
        server.read(1 << 14)
        server.write(UPGRADED)
        cross()
        while file.tell() < size:
            server.write(output)
            wire.send(1, server_out.read())
            records += 1
            if record < MSS and records % 2:
                wire.packet(0, ACK)
    return records


def run(command: list[str | Path]) -> Measured:
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{command[0]} failed with {process.returncode}")
        said.seek(0)
        return Measured(elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said.read().decode())


def best(measured: list[Measured]) -> Measured:
    return min(measured)._replace(memory=max(one.memory for one in measured))


def tshark(trace: Path, key: Path, *options: str) -> list[str | Path]:
    return ["tshark", "-r", trace, "-d", "tcp.port==2376,tls", "-o", f'uat:rsa_keys:"{key}",""', *options]


def check_tshark(trace: Path, key: Path, records: int) -> None:
    """Whether tshark decrypts with these options: the upgrade, and the data behind it, are there only then."""
    fields = ["-Y", "http.response.code == 101 || data", "-T", "fields", "-e", "http.response.code"]
    said = run(tshark(trace, key, *fields)).output.splitlines()
    if "101" not in said or len(said) < records // 2:
        sys.exit(f"tshark does not decrypt {trace}: {len(said)} packets of {records} records")


def aes_speed(size: int) -> float:
    """Bytes a second of one core of `openssl speed`."""
    command = ["openssl", "speed", "-elapsed", "-seconds", "1", "-evp", "aes-128-gcm", "-decrypt", "-bytes", str(size)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r"([\d.]+)k", said)[-1]) * 1000


def compare(name: str, size: int, record: int, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    folder = folder / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    trace, key = folder / "trace.pcap", folder / "key.pem"
    records = make_capture(trace, folder, size, record)
    data = records * record
    yield f"{name}: {trace.stat().st_size / 1e6:.1f} MB, {records} records of {record} bytes, {data / 1e6:.1f} MB of plaintext"
    reading = [options.captool, "analyze", trace, "--jobs", "1"]
    decrypting = [*reading, "--keys", key, "--format", "json"]
    ours, without_key, theirs, speeds = [], [], [], []
    if not options.without_tshark:
        check_tshark(trace, key, records)
    for _ in range(options.rounds):
        ours.append(run(decrypting))
        speeds.append(aes_speed(record))
        without_key.append(run(reading))
        if not options.without_tshark:
            theirs.append(run(tshark(trace, key, "-q", "-z", "io,stat,0")))
    if not re.search(rf'"stdout_bytes": ?{records * (record - FRAME_HEADER)}\b', ours[0].output):
        sys.exit("captool did not read all of the output")
    quickest, start = best(ours), start_up(options)
    speed = f"{data / quickest.seconds / 1e6:6.0f} MB/s  {records / quickest.seconds:9.0f} records/s"
    yield f"  captool analyze --keys   {told(quickest)}  {speed}"
    yield f"  captool without the key  {told(best(without_key))}"
    if theirs:
        times = median(other.seconds / one.seconds for one, other in zip(ours, theirs, strict=True))
        yield f"  tshark with the key      {told(best(theirs))}"
        yield (
            f"  captool is {best(theirs).seconds / quickest.seconds:.1f} times as fast, {times:.1f} times in the median, "
            f"in {quickest.memory / best(theirs).memory:.3f} of the memory"
        )
    reached = [data / one.seconds / speed for one, speed in zip(ours, speeds, strict=True)]
    yield (
        f"  openssl speed, {record} bytes: {max(speeds) / 1e6:.0f} MB/s in the best round; captool reaches {median(reached):.0%} of it in "
        f"the median, {data / quickest.seconds / max(speeds):.0%} best against best"
    )
    yield f"  and {data / max(quickest.seconds - start, 1e-3) / max(speeds):.0%} without the {start:.2f} s that Python takes to start"


def told(measured: Measured) -> str:
    return f"{measured.seconds:7.2f} s  (processor {measured.cpu:5.2f} s)  {measured.memory / 1e6:7.0f} MB"


def start_up(options: argparse.Namespace) -> float:
    """Seconds until captool has imported everything: the analysis of a small capture."""
    small = Path(__file__).parent.parent / "fixtures/silent-drop"
    return best([run([options.captool, "analyze", small / "server.pcap", "--keys", small / "machines"]) for _ in range(3)]).seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default="150MB", help="size of the capture with records of 8 KiB")
    parser.add_argument("--small-size", type=parse_size, default="15MB", help="size of the capture with records of 100 bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--captool", default=Path(sys.executable).parent / "captool", type=Path)
    parser.add_argument("--without-tshark", action="store_true")
    parser.add_argument("--keep", type=Path, help="directory that keeps captures and key")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="captool-benchmark-") as scratch:
        folder = options.keep or Path(scratch)
        for name, size, record in (("8 KiB records", options.size, 8192), ("100-byte records", options.small_size, 100)):
            for line in compare(name, size, record, folder, options):
                print(line, flush=True)


if __name__ == "__main__":
    main()
