"""Recorded sessions as capture files: every flight a segment or more, on connections of their own."""

from collections.abc import Iterable
from pathlib import Path

from builders import Talk, pcap
from tests.tls.stacks import CLIENT, Wire, cut

CLIENT_IP = "10.0.0.1"
SERVER_IP = "10.0.0.2"


def talk(
    wire: Wire, port: int = 40000, *, start_s: float = 0, lost: Iterable[int] = (), cuts: dict[int, int] | None = None, size: int = 1400
) -> Talk:
    """A whole TCP connection that carries the wire. `lost` segments are missing from the capture, others lack `cuts` bytes at their end."""
    lost, cuts = set(lost), cuts or {}
    one = Talk(client_end=(CLIENT_IP, port), server_end=(SERVER_IP, 2376)).wait(start_s).opened()
    for index, (direction, data) in enumerate(cut(wire, size)):
        say = one.client if direction == CLIENT else one.server
        say(data, captured=index not in lost, cut=cuts.get(index, 0))
    return one


def write(path: Path, *talks: Talk) -> Path:
    """The capture of several connections, in order of time."""
    path.write_bytes(pcap(sorted((packet for one in talks for packet in one.packets), key=lambda packet: packet.ts_ns)))
    return path
