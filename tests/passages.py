"""What two captures show of a connection, for tests of findings: a sound path, in which a test states only what matters."""

from dataclasses import replace

from captool.direction import Moment, PerDirection
from captool.findings import find
from captool.other_side import Counterpart, OtherSide
from captool.tcp.clock_offset import ClockBounds
from captool.tcp.passage import DeadPath, PacketRange, Passage, all_arrived
from tables import START, S, capture, connection, tables, tcp

LAST = Moment(4, START), Moment(44, START + 1)
SOUND = all_arrived(5, LAST)


def other_side(*counterparts, **changes):
    bounds = ClockBounds()
    bounds.add(START, 10, first_first=True)
    bounds.add(START, -10, first_first=False)
    return replace(
        OtherSide(capture(files=("other.pcap",)), 1, bounds.offset(), counterparts, (), (), (), 0), **changes
    )


def counterpart(to_server=SOUND, to_client=SOUND, client_side="other-side"):
    one = tcp()
    return Counterpart(0, 0, one.client, one.server, False, client_side, PerDirection(to_server, to_client), 0)


def dead(packets=3, **changes):
    path = DeadPath(Moment(5, START + 602 * S), Moment(12, START + 662 * S), packets, 162, 0, 601 * S, 0, 0)
    lost = (PacketRange(Moment(5, START), Moment(12, START), packets),)
    return Passage(5 + packets, 5, packets, 162, 0, 0, lost, LAST, replace(path, **changes), (), 0)


def judged(one, tcp_connection=None, exchanges=(), **changes):
    found = tables(connection(tcp_connection or tcp(), counterpart=one, exchanges=exchanges))
    found = found._replace(other_side=other_side(one, **changes))
    return found, find(found)


def only(findings, code):
    (finding,) = [one for one in findings if one.code == code]
    return finding
