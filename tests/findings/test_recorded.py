"""What really happened, and what is said of it: Linux 6.18 at both ends, a router with nft between them, all in network namespaces.

`data/` holds what tcpdump recorded at one end or both, on ports of the captures' own. Each begins with a request and the beginning of an
answer, unless its test says otherwise:

- fin-into-nothing: the router drops everything; 6 s later the client's program closes, and 25 s later the server's.
- rejected-in-use: while the server sends a kilobyte every 50 ms, the router begins to answer that with `reject with tcp reset`.
- rebound, rebound-probe: `snat ... fully-random`, nf_conntrack_tcp_timeout_established=5, nf_conntrack_tcp_be_liberal=1; after 8 s the client
  sends a request, or after 7 s a keepalive probe. Later the server's program closes what it still has.
- ports-reused: the client's RST is dropped on the way; 6 s later it connects from the same port.
- stopped-reader: the client's program does not read (SO_RCVBUF 4096), and closes after 16 s.
- simultaneous-open: two sockets connect to each other's ports, their first SYNs dropped by the router.
- synproxy: the router opens connections in the server's name, the server does not know them.
- forgotten: the server's socket is closed by SO_LINGER 0, its RST dropped by its own host; 6 s later the client sends something.
- client-ended: the client's program closes while the server sends a kilobyte every 50 ms that it has not read.
"""

from pathlib import Path

import pytest

from captool.analysis import Analysis, analyze
from captool.findings import Finding
from tests.builders import ACK, RST, SYN, Talk
from tests.findings.judged import asked, found

DATA = Path(__file__).parent / "data"
SECOND = 1_000_000_000


def judged(name: str, other: str | None = None, idle_timeout: int | None = 4) -> Analysis:
    timeout = None if idle_timeout is None else idle_timeout * SECOND
    return analyze(DATA / f"{name}.pcap", other_side=DATA / f"{other}.pcap" if other else (), idle_timeout_ns=timeout)


def findings(analysis: Analysis, code: str) -> list[Finding]:
    return [finding for finding in analysis.findings if finding.code == code]


def test_a_fin_that_nothing_answers_is_no_orderly_close() -> None:
    analysis = judged("fin-into-nothing", idle_timeout=60)
    assert [] == findings(analysis, "quiet-but-healthy")
    (gap,) = findings(judged("fin-into-nothing"), "idle-gap")
    assert "warning" == gap.severity
    assert gap.message.endswith("No packet answers the FIN that ended it, so whether that arrived only a capture at the other side tells.")


def test_a_server_that_nothing_reaches_is_not_said_to_have_closed_first() -> None:
    assert [] == findings(judged("fin-into-nothing-server", "fin-into-nothing"), "server-closed")
    (alone,) = findings(judged("fin-into-nothing-server"), "server-closed")
    assert "FIN, packet 8" in alone.message


def test_a_reset_in_use_from_whoever_does_not_know_the_connection(tmp_path: Path) -> None:
    analysis = judged("rejected-in-use")
    (finding,) = findings(analysis, "reset-in-use")
    assert ("warning", "medium", (28, 29)) == (finding.severity, finding.confidence, finding.packets)
    assert "its TTL is 64, that of the client's others 63" in finding.message
    assert analysis.verdict == (
        "Connection 0 (GET /containers/ab12/logs) was reset in the client's name, perhaps by another machine (its TTL differs a little) "
        "while it was in use.",
    )


def test_a_host_whose_program_ended_resets_what_it_knows() -> None:
    assert [] == findings(judged("client-ended"), "reset-in-use")


@pytest.mark.parametrize(
    "talk",
    [
        Talk().client(flags=SYN, ack=0).server(flags=SYN | ACK).client(flags=RST, ack=0, window=0),  # a scan
        Talk().opened().client(flags=RST, ack=0, window=0),  # a health check of a load balancer
        Talk().client(flags=SYN, ack=0).server(ack=77).client(flags=RST, seq=77, window=0),  # a challenge ACK (RFC 5961 4)
        asked().client(b"GET /").server(seq=1).client(flags=RST | ACK),  # with an acknowledgement
    ],
    ids=["scan", "health-check", "challenge", "acknowledges"],
)
def test_other_resets_are_none_in_use(tmp_path: Path, talk: Talk) -> None:
    assert [] == found(tmp_path / "trace.pcap", talk, "reset-in-use")


def test_a_server_that_does_not_know_what_was_opened_in_its_name() -> None:
    assert "as soon as it was open." in judged("synproxy").verdict[0]


@pytest.mark.parametrize(("name", "idle"), [("rebound", "8.00 s"), ("rebound-probe", "7.17 s")])
def test_a_nat_that_gave_another_port_is_known_although_the_server_closed_later(name: str, idle: str) -> None:
    analysis = judged(f"{name}-server")
    (finding,) = findings(analysis, "connection-unknown")
    assert ("error", "high", 1, 0) == (finding.severity, finding.confidence, finding.connection, finding.evidence["continues"])
    assert f", {idle} after the last packet of that: a NAT" in finding.message
    assert [0] == [one.connection for one in findings(analysis, "server-closed")]  # not of the one that it never had


@pytest.mark.parametrize("name", ["rebound", "rebound-probe"])
def test_what_a_nat_gave_another_port_did_reach_the_other_side(name: str) -> None:
    analysis = judged(f"{name}-client", f"{name}-server")
    (finding,) = findings(analysis, "connection-unknown")
    assert ("error", "high", 0) == (finding.severity, finding.confidence, finding.connection)
    assert f"reached the server's side as connection 1 of {name}-server.pcap" in finding.message
    assert "(packet 8 there)" in finding.message
    assert analysis.verdict[0].endswith("got another port or address from a NAT on the way, which had forgotten it, as both captures prove.")
    for way_round in (analysis, judged(f"{name}-server", f"{name}-client")):
        assert [] == findings(way_round, "packets-lost") + findings(way_round, "reset-injected")


def test_a_connection_that_is_closed_after_an_idle_time_was_not_used_again() -> None:
    (sentence,) = (one for one in judged("rebound-server").verdict if one.startswith("Connection 0"))
    assert "when the server closed it after 11.00 s of silence" in sentence


def test_a_connection_whose_ports_another_one_took_had_ended_before_the_capture() -> None:
    analysis = judged("ports-reused")
    assert [] == findings(analysis, "capture-ended")
    (gap,) = findings(analysis, "idle-gap")
    assert "this one had ended unseen" in gap.message


def test_whoever_probes_a_window_that_is_shut_sends_no_keepalive_probes() -> None:
    by_client, by_server = judged("stopped-reader").connections[0].tcp.keepalive
    assert ("missing", "not-observable") == (by_client.status, by_server.status)
    assert by_server.longest_idle_ns < SECOND < 15 * SECOND < by_client.longest_idle_ns


def test_sides_that_open_a_connection_at_once_do_not_answer_each_other() -> None:
    assert [] == findings(judged("simultaneous-open"), "slow-connect")


def test_who_sent_a_reset_is_known_from_either_capture() -> None:
    for trace, other in (("forgotten-client", "forgotten-server"), ("forgotten-server", "forgotten-client")):
        analysis = judged(trace, other)
        (reset,) = findings(analysis, "reset-after-idle")
        assert (False, "high") == (reset.evidence["injected"], reset.confidence)
        assert "reset by the server itself when it was used again after 6.03 s" in analysis.verdict[0]
