"""Connections on which nothing happened: most rules pass over them, so a rule about how they opened or closed must not be among these."""

from itertools import product

from captool.direction import Moment, PerDirection
from captool.findings import find
from tables import START, S, connection, tables, tcp

CLOSINGS = (
    {"close": "fin", "closed_by": "client", "conn_state": "SF", "closing": Moment(9, START + 5 * S)},
    {"close": "fin", "closed_by": "server", "conn_state": "SF", "closing": Moment(9, START + 5 * S)},
    {"close": "fin", "closed_by": "client", "conn_state": "S2", "closing": Moment(9, START + 5 * S)},
    {"close": "fin", "closed_by": "server", "conn_state": "S3", "closing": Moment(9, START + 5 * S)},
    {"close": "open", "closed_by": None, "conn_state": "S1", "closing": None},
    {"close": "open", "closed_by": None, "conn_state": "S0", "closing": None},
    {"close": "open", "closed_by": None, "conn_state": "OTH", "closing": None},
)
HISTORIES = ("ShADadFf", "S", "Sh", "DdAa", "^dDA", "ADad", "F", "H")
PACKETS = (PerDirection(5, 5), PerDirection(1, 0), PerDirection(3, 0), PerDirection(0, 4))
OTHERS = ({}, {"handshake_seen": False, "client_guessed": True}, {"snapped_segments": 2, "payload_bytes": PerDirection(0, 0)})


def test_the_same_is_told_of_a_connection_without_events_as_if_it_had_some() -> None:
    told = set()
    for closing, history, packets, others in product(CLOSINGS, HISTORIES, PACKETS, OTHERS):
        fields = {**closing, "history": history, "packets": packets, **others}
        quiet, looked_at = (find(tables(connection(tcp(eventful=eventful, **fields)))) for eventful in (False, True))
        assert quiet == looked_at, fields
        told |= {finding.code for finding in quiet}
    assert {"mid-stream", "connection-unanswered"} <= told
