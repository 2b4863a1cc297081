"""The answer in sentences."""

from captool.direction import PerDirection
from captool.findings import find
from captool.findings.verdict import verdict
from tables import S, attach, connection, dropped_tcp, gap, keepalive, lost_output, tables, tcp, tls


def verdict_of(*connections):
    judged = tables(*connections)
    return verdict(judged, find(judged))


def test_dropped_connection_names_request_gap_and_loss():
    dropped = connection(dropped_tcp(), exchanges=(attach(lost=lost_output()),))
    assert (
        "Connection 0 (POST /containers/ab12/attach) was dropped silently after 601.0 s (10 min 1 s) without data and "
        "without a keepalive probe from either side: "
        "at least 7 bytes of container output never reached the client.",
    ) == verdict_of(dropped)


def test_healthy_connections_have_no_fault():
    assert ("No fault found on 2 connections.",) == verdict_of(connection(), connection(tcp(id=1)))


def test_idle_without_probes_is_a_risk_although_nothing_was_lost():
    missing = keepalive("missing", longest_idle_ns=65 * S)
    (sentence,) = verdict_of(connection(tcp(gaps=(gap(65),), keepalive=PerDirection(missing, missing))))
    assert (
        "No connection was seen to be dropped, but connection 0 was idle for 65.00 s without a keepalive probe from either side."
        == sentence
    )


def test_what_could_not_be_read_is_part_of_the_answer():
    closed = connection(tls=tls(status="encrypted", reason="forward-secrecy", detail="ECDHE"))
    assert "1 connection could not be decrypted; what was said on it is not judged." == verdict_of(closed)[-1]


def test_a_stream_at_risk_is_named_before_a_pooled_connection():
    missing = keepalive("missing", longest_idle_ns=65 * S)
    idle = {"gaps": (gap(65),), "keepalive": PerDirection(missing, missing)}
    pooled, attached = connection(tcp(**idle)), connection(tcp(id=1, **idle), exchanges=(attach(),))
    assert "connection 1 (POST /containers/ab12/attach) (and 1 other likewise) was idle" in verdict_of(pooled, attached)[0]
