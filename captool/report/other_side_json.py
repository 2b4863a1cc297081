"""Two captures of the same connections as JSON values, part of `captool.analysis/1`."""

from typing import Any

from captool.direction import Moment
from captool.other_side import Counterpart, OtherSide
from captool.report.printable import iso
from captool.tcp.passage import DeadPath, Passage, TooLarge
from captool.units import SECOND_NS

Json = dict[str, Any]


def other_side(other: OtherSide) -> Json:
    """The other capture, its clock, and which connections are in both."""
    capture, clock = other.capture, other.clock
    return {
        "files": list(capture.files),
        "packets": capture.packets,
        "start": iso(capture.start_ns),
        "end": iso(capture.end_ns),
        "dropped_packets": capture.dropped_packets,
        "notes": list(capture.notes),
        "connections": other.connections,
        "clock": None
        if clock is None
        else {
            "offset_ns": clock.offset_ns,
            "uncertainty_ns": clock.uncertainty_ns,
            "at": iso(clock.at_ns),
            "drift_ppm": clock.drift_ppm,
            "drift_uncertainty_ppm": clock.drift_uncertainty_ppm,
            "consistent": clock.consistent,
        },
        "matched": [{"connection": one.connection, "other": one.other} for one in other.counterparts],
        "unmatched": list(other.unmatched),
        "renumbered": list(other.renumbered),
        "indistinct": list(other.indistinct),
        "unlogged_packets": other.unlogged_packets,
    }


def passage(counterpart: Counterpart) -> Json:
    """How the packets of one connection crossed."""
    client, server = counterpart.client, counterpart.server
    return {
        "other": counterpart.other,
        "client": {"ip": client.ip, "port": client.port},
        "server": {"ip": server.ip, "port": server.port},
        "translated": counterpart.translated,
        "client_side": counterpart.client_side,
        "not_compared": counterpart.not_compared,
        "to_server": _direction(counterpart.passage.to_server),
        "to_client": _direction(counterpart.passage.to_client),
    }


def _direction(one: Passage) -> Json:
    return {
        "sent": one.sent,
        "arrived": one.arrived,
        "lost": one.lost,
        "lost_payload_bytes": one.lost_payload_bytes,
        "unrecorded": one.unrecorded,
        "not_judged": one.not_judged,
        "lost_ranges": [
            {"first": _moment(lost.first), "last": _moment(lost.last), "packets": lost.packets} for lost in one.lost_ranges
        ],
        "last_arrived": {"sent": _moment(one.last_arrived[0]), "received": _moment(one.last_arrived[1])} if one.last_arrived else None,
        "dead": _dead(one.dead) if one.dead else None,
        "not_sent": [
            {
                **_moment(packet.moment),
                "flags": packet.flags,
                "length": packet.length,
                "hop_limit": packet.hop_limit or None,
                "usual_hop_limit": packet.usual_hop_limit or None,
            }
            for packet in one.not_sent
        ],
        "not_sent_packets": one.not_sent_packets,
        "too_large": _too_large(one.too_large) if one.too_large else None,
    }


def _dead(dead: DeadPath) -> Json:
    return {
        "first": _moment(dead.first),
        "last": _moment(dead.last),
        "packets": dead.packets,
        "payload_bytes": dead.payload_bytes,
        "not_judged": dead.not_judged,
        "idle_before_s": dead.idle_ns / SECOND_NS,
        "other_way": dead.other_way,
        "other_way_arrived": dead.other_way_arrived,
    }


def _too_large(lost: TooLarge) -> Json:
    return {
        "first": _moment(lost.first),
        "last": _moment(lost.last),
        "packets": lost.packets,
        "smallest_lost": lost.smallest_lost,
        "arrived": lost.arrived,
        "largest_arrived": lost.largest_arrived,
    }


def _moment(moment: Moment) -> Json:
    return {"packet": moment.packet, "time": iso(moment.ts_ns)}
