"""Hosts that talk, each with a clock of its own, and a recorder whose clock is set meanwhile."""

from pathlib import Path

from captool.analysis import Analysis, analyze
from tests.builders import ACK, PSH, START, SYN, Endpoint, Packet, ethernet, ip, pcap, tcp, tsval

MS = 1_000_000


class Hosts:
    """Clients that talk to a server, each with a clock of its own; `wrong` is how far the recorder's clock is ahead."""

    def __init__(self, clients: int = 3, *, tick_ns: int | None = MS) -> None:
        self.ends = [((f"10.0.0.{10 + number}", 40000), ("10.0.0.2", 2376)) for number in range(clients)]
        self.numbers = {(end, other): 1000 for end in self.ends for other in (0, 1)}
        self.now, self.wrong, self.tick_ns, self.stopped_ns = START, 0, tick_ns, 0
        self.packets: list[Packet] = []
        for number in range(clients):
            self.say(number, 0, flags=SYN).say(number, 1, flags=SYN | ACK).say(number, 0)

    def say(self, number: int, way: int, data: bytes = b"", flags: int = ACK) -> "Hosts":
        self.now += MS
        ends = self.ends[number]
        source: Endpoint = ends[way]
        destination: Endpoint = ends[1 - way]
        value = ((self.now - self.stopped_ns) // (self.tick_ns or MS) + 7777 * (number + 1) * (way + 1)) % 2**32
        seq, ack = self.numbers[ends, way], self.numbers[ends, 1 - way] if flags & ACK else 0
        segment = tcp(source, destination, seq, ack, flags | (PSH if data else 0), data, 500, tsval(value) if self.tick_ns else b"")
        self.numbers[ends, way] += len(data) + bool(flags & SYN)
        self.packets.append(Packet(ethernet(ip(segment, source, destination, 100 + len(self.packets))), self.now + self.wrong))
        return self

    def talk(self, rounds: int = 4) -> "Hosts":
        for _ in range(rounds):
            for number in range(len(self.ends)):
                self.say(number, 0, b"ask").say(number, 1, b"answer").say(number, 0)
        return self

    def judged(self, path: Path) -> Analysis:
        path.write_bytes(pcap(self.packets))
        return analyze(path)
