"""Segments of connections that a host does not know: recognised as those that a NAT gave another port, where their numbers say so."""

from pathlib import Path

import pytest

from tests.builders import RST, Talk
from tests.findings.judged import asked, found, judged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def moved(*, probe: bool = False, in_flight: bool = False, client_end: tuple[str, int] = ("10.0.0.1", 41000)) -> Talk:
    """A connection that comes from another port after 15 s, and is reset."""
    talk = asked()
    acked = talk.next[1]
    if in_flight:
        talk.server(b"lost")
    later = Talk(client_end=client_end, now=talk.now).wait(15)
    later.next = [talk.next[0], acked]
    if probe:
        later.client(seq=talk.next[0] - 1)
    else:
        later.client(b"again")
    later.server(flags=RST, seq=acked, window=0)
    talk.packets += later.packets
    return talk


@pytest.mark.parametrize("talk", [moved(), moved(probe=True), moved(in_flight=True)], ids=["data", "probe", "in-flight"])
def test_a_connection_that_a_nat_gave_another_port_is_known_by_its_numbers(path: Path, talk: Talk) -> None:
    (finding,) = found(path, talk, "connection-unknown")
    assert ("error", "high", 1, 0) == (finding.severity, finding.confidence, finding.connection, finding.evidence["continues"])
    assert "comes from 10.0.0.1:41000, 15.0" in finding.message
    assert "gave it another port. The server's host does not know it" in finding.message
    analysis = judged(path, talk)
    assert "mid-stream" not in {one.code for one in analysis.findings}
    assert any("is connection 0 under another port or address" in sentence for sentence in analysis.verdict)


def test_another_address_is_told(path: Path) -> None:
    (finding,) = found(path, moved(client_end=("10.0.0.7", 41000)), "connection-unknown")
    assert "gave it another address." in finding.message


def test_a_stranger_with_other_numbers_may_be_anything(path: Path) -> None:
    talk = asked()
    for port in (41000, 41001):
        later = Talk(client_isn=70_000, server_isn=80_000, client_end=("10.0.0.1", port), now=talk.now).wait(15)
        talk.packets += later.client(b"again").server(flags=RST, window=0).packets
    (finding,) = found(path, talk, "connection-unknown")
    assert ("warning", "low", None, 2) == (finding.severity, finding.confidence, finding.evidence["continues"], finding.evidence["connections"])
    assert "on 2 connections with nothing but a reset" in finding.message


def test_a_server_that_had_said_something_knows_its_connection(path: Path) -> None:
    talk = Talk().client(b"request").server(b"answer").client(b"again").server(flags=RST, window=0)
    assert [] == found(path, talk, "connection-unknown")
    assert [] == found(path, asked().client(b"again").server(flags=RST, window=0), "connection-unknown")
