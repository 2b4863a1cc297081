"""Built segments -> what captool says of them."""

from dataclasses import replace
from pathlib import Path

from captool.analysis import Analysis, analyze
from captool.findings import Finding
from tests.builders import Packet, Talk, pcap


def asked() -> Talk:
    """A request, its answer, and the client's acknowledgement."""
    return Talk().opened().client(b"GET /").server(b"200").client()


def judged(path: Path, talk: Talk) -> Analysis:
    path.write_bytes(pcap(talk.packets))
    return analyze(path)


def found(path: Path, talk: Talk, code: str) -> list[Finding]:
    return [finding for finding in judged(path, talk).findings if finding.code == code]


def with_hops(packet: Packet, hops: int) -> Packet:
    return replace(packet, frame=packet.frame[:22] + bytes([hops]) + packet.frame[23:])


def later(talk: Talk, seconds: float) -> Talk:
    """The same, with a packet of another connection `seconds` later: the recorder was still alive."""
    talk.wait(seconds)
    talk.packets.append(Talk(client_end=("10.0.0.9", 5000), now=talk.now).client(b"x").packets[0])
    return talk
