"""What routers and hosts on the path said themselves, in ICMP errors about a connection's packets: why they were not delivered."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from captool.capture.summary import IcmpError
from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Finding, Severity
from captool.findings.tables import Connection, Tables, capture_name, eventful
from captool.tcp.connection import TcpConnection
from captool.units import SECOND_NS, counted

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.other_side import Counterpart
    from captool.tcp.clock_offset import ClockOffset

# RFC 792, RFC 1122 3.2.2.1 and RFC 1812 5.2.7.1; RFC 4443 3.1 to 3.3.
NAMES: Final[dict[tuple[int, int, int], str]] = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "fragmentation needed",
    (4, 3, 9): "network administratively prohibited",
    (4, 3, 10): "host administratively prohibited",
    (4, 3, 13): "communication administratively prohibited",
    (4, 11, 0): "TTL exceeded in transit",
    (6, 1, 0): "no route to destination",
    (6, 1, 1): "communication administratively prohibited",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address failed policy",
    (6, 1, 6): "route rejected",
    (6, 2, 0): "packet too big",
    (6, 3, 0): "hop limit exceeded in transit",
}
# An error comes soon after the packet that it is about.
LATE_NS: Final = 5 * SECOND_NS
# A SYN, perhaps its answer, and nothing else of either side (Zeek's letters).
NEVER_OPENED: Final = frozenset({"S", "Sh"})
ADMINISTRATIVE: Final = frozenset({(4, 3, 9), (4, 3, 10), (4, 3, 13), (6, 1, 1), (6, 1, 5), (6, 1, 6)})


def with_errors(tables: Tables) -> Tables:
    """The tables with the ICMP errors about its packets at each connection, those of the other side's capture behind the trace's."""
    here = _by_ends(tables.capture.icmp_errors)
    other = tables.other_side
    there = _by_ends(other.capture.icmp_errors) if other else {}
    if not here and not there:
        return tables
    connections = []
    for one in tables.connections:
        errors = [error for error in here.get(_ends(one.tcp.client, one.tcp.server), ()) if of_its_time(one.tcp, error)]
        if there and other and other.clock and one.counterpart:
            known = there.get(_ends(one.counterpart.client, one.counterpart.server), ())
            placed = (_placed(tables, one.tcp, one.counterpart, other.clock, error) for error in known)
            errors += [error for error in placed if of_its_time(one.tcp, error)]
        connections.append(one._replace(icmp=tuple(errors)))
    return tables._replace(connections=tuple(connections), eventful=eventful(connections))


def _by_ends(errors: Iterable[IcmpError]) -> dict[frozenset[tuple[str, int]], list[IcmpError]]:
    known: dict[frozenset[tuple[str, int]], list[IcmpError]] = {}
    for error in errors:
        known.setdefault(_ends(error.source, error.destination), []).append(error)
    return known


def _placed(tables: Tables, tcp: TcpConnection, counterpart: "Counterpart", clock: "ClockOffset", error: IcmpError) -> IcmpError:
    """An error in the other side's capture, about the ends that the trace knows, at the times of the trace's clock."""
    client, server = (tcp.client.ip, tcp.client.port), (tcp.server.ip, tcp.server.port)
    source, destination = (client, server) if error.source == tuple(counterpart.client) else (server, client)
    (first_ns, early), (last_ns, late) = clock.first_clock(error.first_ns), clock.first_clock(error.last_ns)
    return error._replace(
        source=source,
        destination=destination,
        first_ns=first_ns - early,
        last_ns=last_ns + late,
        other_side=capture_name(tables, "other-side"),
    )


def _ends(one: tuple[str, int], other: tuple[str, int]) -> frozenset[tuple[str, int]]:
    return frozenset((one, other))


def of_its_time(tcp: TcpConnection, error: IcmpError) -> bool:
    """Whether the error came while the connection lived: its ports may have been used before and after."""
    return error.last_ns >= tcp.start_ns and error.first_ns <= tcp.end_ns + LATE_NS


def direction_of(tcp: TcpConnection, error: IcmpError) -> Direction:
    """The direction of the packets that the error is about."""
    return Direction.TO_SERVER if error.source == tuple(tcp.client) else Direction.TO_CLIENT


def name_of(error: IcmpError) -> str:
    """What the error says, in the words of its RFC."""
    return NAMES.get((error.version, error.type, error.code), f"type {error.type} code {error.code}")


def too_big(error: IcmpError) -> bool:
    """Whether the error is about the size of a packet, as path MTU discovery wants it (RFC 1191, RFC 8201)."""
    return (error.version, error.type, error.code) == (4, 3, 4) or (error.version == 6 and error.type == 2)


def last_of(error: IcmpError) -> str:
    """`packet 14`, or `packet 14 of client.pcap`: the last of these errors, for people."""
    return f"packet {error.last_packet}{f' of {error.other_side}' if error.other_side else ''}"


def refusal(connection: Connection, direction: Direction) -> IcmpError | None:
    """The last error that says that packets of this direction are not delivered, for another reason than their size."""
    errors = [one for one in connection.icmp if not too_big(one) and direction_of(connection.tcp, one) is direction]
    return max(errors, key=_weight, default=None)


def size_limit(connection: Connection, direction: Direction) -> IcmpError | None:
    """The last error that says that packets of this direction are too big."""
    errors = [one for one in connection.icmp if too_big(one) and direction_of(connection.tcp, one) is direction]
    return max(errors, key=_weight, default=None)


def _weight(error: IcmpError) -> tuple[bool, int]:
    return not error.other_side, error.last_ns


def said_so(connection: Connection, direction: Direction) -> str:
    """A sentence about who refused packets of this direction, "" where nobody said it."""
    said = refusal(connection, direction)
    return f" {said.reporter} did not deliver them and said so (ICMP, {last_of(said)}): {name_of(said)}." if said else ""


def icmp_error(tables: Tables) -> Iterator[Finding]:
    """One finding for each connection and direction whose packets something on the path refused to deliver, and said so."""
    for connection in tables.eventful:
        for direction in DIRECTIONS if connection.icmp else ():
            error = refusal(connection, direction) or size_limit(connection, direction)
            if error is None:
                continue
            what = f"{name_of(error)}{f' (at most {error.mtu} bytes pass)' if error.mtu else ''}"
            where = f"packets {error.first_packet} to {last_of(error).removeprefix('packet ')}" if error.times > 1 else last_of(error)
            both = next((f", seen in {one.other_side} too" for one in connection.icmp if one.other_side and _same(one, error)), "")
            yield Finding(
                code="icmp-error",
                severity=_severity(connection, direction, error),
                confidence="high",
                connection=connection.id,
                packets=() if error.other_side else tuple(sorted({error.first_packet, error.last_packet})),
                message=f"{error.reporter} answered what the {direction.sender} sent with {counted(error.times, 'ICMP error')} "
                f"({where}{'' if error.other_side else both}): {what}.",
                remedy=_remedy(error, direction),
                evidence={
                    "direction": direction.name.lower(),
                    "reporter": error.reporter,
                    "icmp": name_of(error),
                    "type": error.type,
                    "code": error.code,
                    "mtu": error.mtu,
                    "times": error.times,
                    "seen_by": ["other-side"] if error.other_side else ["trace", "other-side"] if both else ["trace"],
                },
            )


def _same(one: IcmpError, other: IcmpError) -> bool:
    return one is not other and one[:6] == other[:6]


def _severity(connection: Connection, direction: Direction, error: IcmpError) -> Severity:
    sent, counterpart = connection.tcp.unanswered[direction], connection.counterpart
    if connection.tcp.history in NEVER_OPENED or (sent is not None and sent.persistent and error.last_ns >= sent.first.ts_ns):
        return "error"
    if counterpart and (dead := counterpart.passage[direction].dead):
        at_sender = bool(error.other_side) == (counterpart.sender_side(direction) == "other-side")
        if not at_sender or error.last_packet >= dead.first.packet:
            return "error"
    return "info" if too_big(error) else "warning"


def _remedy(error: IcmpError, direction: Direction) -> str:
    if too_big(error):
        return "Nothing where data went on; else let these ICMP messages pass, or clamp the MSS in front of the tunnel."
    if (error.version, error.type, error.code) in ADMINISTRATIVE:
        return f"Look at the firewall rules of {error.reporter}: it refuses what the {direction.sender} sends."
    if error.type == (11 if error.version == 4 else 3):
        return f"Look for a loop in the routes near {error.reporter}."
    return (
        f"Look at {error.reporter}, its routes and its neighbours (ip route, ip neigh): it does not reach the {direction.opposite.sender}."
    )
