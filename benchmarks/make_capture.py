"""Makes a deterministic capture for the benchmarks: interleaved connections of a Docker-like service, quickly.

Packets are templates copied into one large block, with ports, sequence numbers, identifications and times patched in. The
mix: handshakes, 45 % bare acknowledgements, full-size data (1448 bytes), short requests, some keepalive probes with answers.
"""

import argparse
import random
import struct
from pathlib import Path
from typing import Final

MSS: Final = 1448
START: Final = 1_700_000_000
ETHERNET: Final = bytes.fromhex("0200000000010200000000020800")
TIMESTAMPS: Final = bytes.fromhex("0101080a")
SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16
BLOCK_PACKETS: Final = 4096


class Side:
    """The numbers that one end of a connection sends with."""

    def __init__(self, rng: random.Random) -> None:
        self.next = rng.getrandbits(32)
        self.identification = rng.getrandbits(16)


class Connection:
    def __init__(self, number: int, rng: random.Random) -> None:
        client = bytes([10, 1 + (number >> 16 & 127), number >> 8 & 255, number & 255])
        server = bytes([10, 200, 0, 1 + number % 200])
        ports = struct.pack(">HH", 20000 + number % 40000, 2376)
        self.addresses = (client + server, server + client)
        self.ports = (ports, ports[2:] + ports[:2])
        self.sides = (Side(rng), Side(rng))
        self.state = 0
        self.owed = 0  # data segments that the client has not acknowledged


def record(connection: Connection, direction: int, flags: int, payload: bytes, now_us: int, seq_shift: int = 0) -> bytes:
    """One pcap record."""
    sender, peer = connection.sides[direction], connection.sides[1 - direction]
    options = TIMESTAMPS + struct.pack(">II", now_us // 1000 & 0xFFFFFFFF, 0)
    ip_length = 20 + 32 + len(payload)
    sender.identification = sender.identification + 1 & 0xFFFF
    tcp = struct.pack(
        ">IIHHHH",
        sender.next + seq_shift & 0xFFFFFFFF,
        peer.next if flags & ACK else 0,
        0x8000 | flags,
        501,
        0,
        0,
    )
    ip = struct.pack(">HHHHBBH", 0x4500, ip_length, sender.identification or 1, 0x4000, 64, 6, 0)
    header = struct.pack("<IIII", START + now_us // 1_000_000, now_us % 1_000_000, 14 + ip_length, 14 + ip_length)
    sender.next = sender.next + len(payload) + (1 if flags & (SYN | FIN) else 0) & 0xFFFFFFFF
    return b"".join((header, ETHERNET, ip, connection.addresses[direction], connection.ports[direction], tcp, options, payload))


def write_capture(path: Path, packets: int, connections: int = 5000, seed: int = 1) -> None:
    """Write `packets` packets of `connections` connections to `path`; the same arguments give the same bytes."""
    rng = random.Random(seed)
    noise = rng.randbytes(1 << 16)
    open_connections = [Connection(number, rng) for number in range(connections)]
    now_us = 0
    written = 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        while written < packets:
            block = []
            while len(block) < BLOCK_PACKETS and written + len(block) < packets:
                now_us += 37
                connection = open_connections[rng.randrange(connections)]
                state = connection.state
                if state < 3:
                    connection.state += 1
                    block.append(record(connection, state & 1, (SYN, SYN | ACK, ACK)[state], b"", now_us))
                    continue
                choice = rng.random()
                if connection.owed and (connection.owed >= 2 or choice < 0.8):
                    block.append(record(connection, 0, ACK, b"", now_us))
                    connection.owed = 0
                elif choice < 0.02:
                    # A probe and its answer; the peer's acknowledgement of everything went before, so it is one.
                    block.append(record(connection, 0, ACK, b"", now_us, seq_shift=-1))
                    block.append(record(connection, 1, ACK, b"", now_us + 1))
                elif choice < 0.10:
                    start = rng.randrange(1 << 15)
                    block.append(record(connection, 0, PSH | ACK, noise[start : start + 200], now_us))
                    block.append(record(connection, 1, ACK, b"", now_us + 1))
                else:
                    start = rng.randrange(1 << 15)
                    size = MSS if choice < 0.48 else 90  # a line of job output is short, an image layer is not
                    block.append(record(connection, 1, PSH | ACK, noise[start : start + size], now_us))
                    connection.owed += 1
            file.write(b"".join(block))
            written += len(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_capture(options.path, options.packets, options.connections, options.seed)


if __name__ == "__main__":
    main()
