"""One direction of a path that is dead while the other still carries packets, as a capture at either end shows it."""

from collections.abc import Iterator
from typing import Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Finding
from captool.findings.path_mtu import HEARD_NS, too_large
from captool.findings.tables import NEITHER, Connection, Tables
from captool.tcp.connection import SILENT_NS, SILENT_TRANSMISSIONS, Repeated, Unanswered
from captool.units import SECOND_NS, counted, seconds, size

REMEDY: Final = (
    "Look for what treats the two directions differently: asymmetric routes, a firewall that saw one direction only, an address "
    "translation that was lost. A capture at the other end (--other-side) proves which direction it is."
)


def one_way_loss(tables: Tables) -> Iterator[Finding]:
    """Data that is not acknowledged although its receiver is heard, or data that comes again although it was acknowledged."""
    for connection in tables.eventful:
        if connection.tcp.unanswered == connection.tcp.repeated == NEITHER:
            continue
        for direction in DIRECTIONS:
            sent, again = connection.tcp.unanswered[direction], connection.tcp.repeated[direction]
            if sent is not None and heard_and_not_acknowledged(connection, direction, sent):
                yield _unacknowledged(connection, direction, sent)
            elif again is not None and again.lasting and persists(again) and not _ended(connection):
                yield _acknowledged_in_vain(connection, direction, again)


def persists(again: Repeated) -> bool:
    """Whether it went on for so long that an acknowledgement would have arrived, if any could."""
    return again.times >= SILENT_TRANSMISSIONS and again.last.ts_ns - again.first.ts_ns >= SILENT_NS


def heard_and_not_acknowledged(connection: Connection, direction: Direction, sent: Unanswered) -> bool:
    """Whether data is sent again and again and never acknowledged, while its receiver is still heard and has room for it."""
    tcp, heard = connection.tcp, sent.peer_last_heard
    if tcp.close == "silent-drop" or heard is None or not sent.persistent or too_large(tcp, direction):
        return False
    shut, reset = tcp.shut_windows[direction], tcp.reset
    if (shut is not None and shut.until_packet is None) or tcp.closed_by == direction.opposite.sender:
        return False
    if reset is not None and reset.sender == direction.opposite.sender:
        return False
    # What was on its way when the data was sent may arrive for a while; what comes later knows of the data, or never got it.
    later = heard.packet > sent.first.packet and heard.ts_ns - sent.first.ts_ns >= HEARD_NS
    return later and sent.last.ts_ns - sent.first.ts_ns >= SILENT_NS


def _ended(connection: Connection) -> bool:
    return connection.tcp.close in ("fin", "rst")


def _unacknowledged(connection: Connection, direction: Direction, sent: Unanswered) -> Finding:
    sender, peer, heard = direction.sender, direction.opposite.sender, sent.peer_last_heard
    after_ns = heard.ts_ns - sent.first.ts_ns if heard else 0
    return Finding(
        code="one-way-loss",
        severity="error",
        confidence="high" if after_ns >= SILENT_NS and not sent.duplicate_acks else "medium",
        connection=connection.id,
        packets=(sent.first.packet, sent.last.packet) + ((heard.packet,) if heard else ()),
        message=f"From packet {sent.first.packet} on the {sender} sent {size(sent.bytes)} of data again and again "
        f"({counted(sent.retransmissions, 'retransmission')} in {seconds(sent.last.ts_ns - sent.first.ts_ns)}), and the {peer}, which was "
        f"heard until {seconds(after_ns)} later (packet {heard.packet if heard else 0}), acknowledged none of it: the path carries the "
        f"{peer}'s packets and not the {sender}'s, or the {peer}'s host drops them.",
        remedy=REMEDY,
        evidence={
            "direction": direction.name.lower(),
            "unacknowledged_bytes": sent.bytes,
            "retransmissions": sent.retransmissions,
            "heard_for_s": after_ns / SECOND_NS,
            "proof_needs": peer,
        },
    )


def _acknowledged_in_vain(connection: Connection, direction: Direction, again: Repeated) -> Finding:
    sender, peer = direction.sender, direction.opposite.sender
    lasted = seconds(again.last.ts_ns - again.first.ts_ns)
    return Finding(
        code="one-way-loss",
        severity="error",
        confidence="medium",
        connection=connection.id,
        packets=(again.first.packet, again.last.packet),
        message=f"The {sender} sent the same data {again.times} times more in {lasted} (packets {again.first.packet} to "
        f"{again.last.packet}), although the {peer} had acknowledged it and did so again, and sent nothing new: the {peer}'s packets do "
        f"not reach the {sender}.",
        remedy=REMEDY,
        evidence={
            "direction": direction.opposite.name.lower(),
            "unacknowledged_bytes": 0,
            "retransmissions": again.times,
            "heard_for_s": (again.last.ts_ns - again.first.ts_ns) / SECOND_NS,
            "proof_needs": sender,
        },
    )
