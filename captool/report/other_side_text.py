"""Two captures of the same connections for a terminal: how they fit together, and what crossed of each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from captool.direction import Direction
from captool.findings.passage import numbers
from captool.units import SECOND_NS, counted, seconds

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.other_side import Counterpart, OtherSide
    from captool.tcp.clock_offset import ClockOffset
    from captool.tcp.passage import Passage


def captures_compared(other: OtherSide, connections: int) -> str:
    """`other side: client.pcap, 107 packets; 2 of 2 connections are in both; its clock ...`."""
    files = ", ".join(other.capture.files[:3]) + (f" and {len(other.capture.files) - 3} more" if len(other.capture.files) > 3 else "")
    text = f"other side: {files}, {counted(other.capture.packets, 'packet')}; {len(other.counterparts)} of "
    text += f"{counted(connections, 'connection')} {'is' if connections == 1 else 'are'} in both"
    if other.clock:
        text += f"; {clock_difference(other.clock)}"
    if other.unlogged_packets:
        text += f"; {counted(other.unlogged_packets, 'packet')} found no room in memory and were not compared"
    return text


def clock_difference(clock: ClockOffset) -> str:
    """How far the other side's clock is ahead or behind, never more exactly than is known."""
    if abs(clock.offset_ns) <= clock.uncertainty_ns:
        text = f"the clocks agree within {seconds(abs(clock.offset_ns) + clock.uncertainty_ns)}"
    else:
        way = "ahead" if clock.offset_ns > 0 else "behind"
        digits = min(max(10 - len(str(clock.uncertainty_ns)), 0), 9)
        text = f"its clock is {abs(clock.offset_ns) / SECOND_NS:.{digits}f} s {way}, give or take {seconds(clock.uncertainty_ns)}"
    if clock.drift_ppm is not None and clock.drift_uncertainty_ppm is not None:
        text += f", and gains {clock.drift_ppm:.1f} ± {clock.drift_uncertainty_ppm:.1f} µs each second"
    return text if clock.consistent else f"{text}; one of the clocks was set meanwhile"


def crossed(counterpart: Counterpart) -> str:
    """What was sent in each direction and what of it arrived, numbered as the sender's side has it."""
    text = f"connection {counterpart.other} of the other side"
    if counterpart.translated:
        client, server = counterpart.client, counterpart.server
        text += f", where the addresses are {client.ip}:{client.port} → {server.ip}:{server.port} (translated on the way)"
    if counterpart.client_side is None:
        text += "; which of the two is nearer to the client the packets do not tell"
    else:
        text += f"; the other side is nearer to the {'server' if counterpart.client_side == 'trace' else 'client'}"
    text += "".join(f"; {_direction(direction, counterpart.passage[direction])}" for direction in Direction)
    return text + (f"; {counted(counterpart.not_compared, 'packet')} in the middle not compared" if counterpart.not_compared else "")


def _direction(direction: Direction, passage: Passage) -> str:
    text = f"the {direction.sender} sent {counted(passage.sent, 'packet')}, "
    if passage.arrived == passage.sent:
        text += "which all arrived"
    else:
        parts = [
            (passage.arrived, "arrived"),
            (passage.lost, f"lost ({numbers(passage.lost_ranges)})"),
            (passage.unrecorded, "acknowledged and not recorded by the receiver's side"),
            (passage.not_judged, "not judged: the other capture has nothing of that time or of this direction"),
        ]
        text += ", ".join(f"{count} {what}" for count, what in parts if count)
    if passage.not_sent_packets:
        text += f"; {counted(passage.not_sent_packets, 'packet')} received that its side does not have"
    return text
