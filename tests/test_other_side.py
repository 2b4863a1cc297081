"""Captures of both sides of the same run: what the one makes likely the other proves, whichever is the trace."""

import ipaddress
import subprocess

import pytest

from builders import ACK, FIN, START, SYN, Packet, Talk, ethernet, ip, pcap, tcp, tsval
from captool.analysis import analyze
from captool.errors import CaptureError
from captool.report.text import render

S = 1_000_000_000


@pytest.fixture
def sides(fixtures):
    return fixtures / "silent-drop" / "server.pcap", fixtures / "silent-drop" / "client.pcap"


def shifted(path, target, seconds):
    subprocess.run(["editcap", "-t", str(seconds), str(path), str(target)], check=True, capture_output=True)
    return target


def finding(analysis, code):
    return next(one for one in analysis.findings if one.code == code)


def codes(analysis):
    return {one.code for one in analysis.findings}


def test_silent_drop_is_proven_by_the_clients_side(sides):
    server, client = sides
    analysis = analyze(server, other_side=client)
    dead = finding(analysis, "path-dead")
    assert ("error", "high", 1, (103, 111)) == (dead.severity, dead.confidence, dead.connection, dead.packets)
    assert ("to_client", "trace", 9, 1) == tuple(
        dead.evidence[name] for name in ("direction", "sender_side", "lost_packets", "not_judged_packets")
    )
    assert (30, 30) == (dead.evidence["last_arrived_packet"], dead.evidence["last_arrived_packet_at_receiver"])
    assert 601 == round(dead.evidence["idle_before_s"])
    assert finding(analysis, "silent-drop").evidence["proven_by_other_side"]
    assert "on connection 1 the server sent packets 103 to 111 (server.pcap; 9 packets, 1.8 kB) and none of them reached" in " ".join(
        analysis.verdict
    )
    assert [0, 1] == [one.connection for one in analysis.other_side.counterparts]
    assert [(0, 0), (0, 9)] == [(one.passage.to_server.lost, one.passage.to_client.lost) for one in analysis.other_side.counterparts]


def test_sides_may_be_swapped(sides):
    server, client = sides
    analysis = analyze(client, other_side=client.with_name("server.pcap"))
    dead = finding(analysis, "path-dead")
    assert (["trace", "trace"], (30,)) == ([one.client_side for one in analysis.other_side.counterparts], dead.packets)
    assert ("other-side", 103, 111) == tuple(dead.evidence[name] for name in ("sender_side", "first_lost_packet", "last_lost_packet"))
    assert ["other-side"] * 2 == [one.client_side for one in analyze(server, other_side=client).other_side.counterparts]
    assert not any("No fault" in sentence or "No connection was seen" in sentence for sentence in analysis.verdict)


@pytest.mark.needs("editcap")
@pytest.mark.parametrize("seconds", [-7 * 86400.25, -3.5, 0.001, 3723.456789])
def test_clocks_may_differ(sides, tmp_path, seconds):
    server, client = sides
    analysis = analyze(server, other_side=shifted(client, tmp_path / "shifted.pcap", seconds))
    clock = analysis.other_side.clock
    assert abs(clock.offset_ns - round(seconds * S)) <= clock.uncertainty_ns <= 10_000
    assert clock.consistent
    assert 9 == analysis.other_side.counterparts[1].passage.to_client.lost
    assert ["other-side"] * 2 == [one.client_side for one in analysis.other_side.counterparts]


def test_connection_that_keepalive_saved_lost_nothing(fixtures):
    folder = fixtures / "keepalive-saves"
    analysis = analyze(folder / "server.pcap", other_side=folder / "client.pcap")
    assert [(0, 0, 0)] * 4 == [
        (way.lost, way.not_judged, way.not_sent_packets) for one in analysis.other_side.counterparts for way in one.passage
    ]
    assert set() == codes(analysis) & {"path-dead", "packets-lost", "reset-injected", "other-side-unmatched"}


@pytest.mark.needs("editcap")
def test_rotated_other_side_is_read_as_one(sides, tmp_path):
    server, client = sides
    subprocess.run(["editcap", "-c", "30", str(client), str(tmp_path / "part.pcap")], check=True, capture_output=True)
    parts = sorted(tmp_path.glob("part*.pcap"), reverse=True)
    assert len(parts) > 2
    analysis = analyze(server, other_side=parts)
    assert finding(analysis, "path-dead").evidence == finding(analyze(server, other_side=client), "path-dead").evidence


@pytest.mark.needs("editcap")
def test_capture_that_began_late_judges_only_what_followed(sides, tmp_path):
    server, client = sides
    late = tmp_path / "late.pcap"
    subprocess.run(["editcap", "-A", "2026-11-23 06:20:00", str(client), str(late)], check=True, capture_output=True, env={"TZ": "UTC"})
    analysis = analyze(server, other_side=late)
    (kept,) = analysis.other_side.counterparts
    assert (0, 0) == (kept.passage.to_client.lost, kept.passage.to_server.not_sent_packets)
    assert kept.passage.to_client.not_judged > 0
    assert (1,) == analysis.other_side.unmatched


def test_capture_against_itself_lost_nothing_and_has_no_nearer_side(sides):
    server, _ = sides
    analysis = analyze(server, other_side=server)
    assert [None, None] == [one.client_side for one in analysis.other_side.counterparts]
    assert abs(analysis.other_side.clock.offset_ns) <= analysis.other_side.clock.uncertainty_ns < 100
    assert "path-dead" not in codes(analysis)


def test_silent_peer_is_told_from_a_dead_path(tmp_path):
    """The data reaches the client's host, which does not answer: not the path's fault."""
    talk = Talk().opened().client(b"request").server(b"answer").client()
    other = Talk(client_end=("10.0.0.1", 50000), server_isn=900, now=talk.now).opened()
    for pause in (1, 1, 2, 4):
        talk.wait(pause).server(b"output", seq=5007)
    other.now = talk.now
    other.wait(3).server(b"alive").client()
    packets = sorted(talk.packets + other.packets, key=lambda packet: packet.ts_ns)
    server, client = tmp_path / "server.pcap", tmp_path / "client.pcap"
    server.write_bytes(pcap(packets))
    client.write_bytes(pcap([later(packet, talk, other) for packet in packets]))
    assert "silent-drop" in codes(analyze(server))
    analysis = analyze(server, other_side=client)
    assert "silent-drop" not in codes(analysis)
    assert "no answer to it left there: the path was not at fault" in finding(analysis, "peer-silent").message


@pytest.mark.parametrize("recorded", ["10.0.0.1", "10.0.0.2"])
def test_other_side_with_one_direction_proves_nothing_of_the_other(tmp_path, recorded):
    talk = Talk().opened().client(b"request")
    for _ in range(10):
        talk.wait(2).server(b"output").client()
    talk.server(flags=ACK | FIN).client()
    client, server = tmp_path / "client.pcap", tmp_path / "server.pcap"
    client.write_bytes(pcap([later(packet, talk) for packet in talk.packets]))
    server.write_bytes(pcap([packet for packet in talk.packets if packet.frame[26:30] == ipaddress.ip_address(recorded).packed]))
    assert {"path-dead", "packets-lost", "reset-injected"}.isdisjoint(codes(analyze(client, other_side=server)))


def later(packet, *talks):
    """As the client's side records it: before the server's side what the client sends, after it what it receives."""
    from_client = packet.frame[26:30] == bytes([10, 0, 0, 1])
    return Packet(packet.frame, packet.ts_ns + (-100_000 if from_client else 100_000))


def test_same_addresses_with_other_sequence_numbers_are_a_proxy_or_another_time(tmp_path):
    one, other = tmp_path / "one.pcap", tmp_path / "other.pcap"
    one.write_bytes(pcap(Talk().opened().client(b"request").packets))
    other.write_bytes(pcap(Talk(client_isn=77, server_isn=88).opened().client(b"request").packets))
    analysis = analyze(one, other_side=other)
    assert ((0,), (0,)) == (analysis.other_side.unmatched, analysis.other_side.renumbered)
    assert "with other sequence numbers" in finding(analysis, "other-side-unmatched").message


@pytest.mark.parametrize("recorded", [0, 1])
def test_captures_of_opposite_directions_have_no_packet_in_common(tmp_path, recorded):
    talk = Talk().opened().client(b"request").server(b"answer").client()
    sent = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    ways = sent, [packet for packet in talk.packets if packet not in sent]
    one, other = tmp_path / "one.pcap", tmp_path / "other.pcap"
    one.write_bytes(pcap(ways[recorded]))
    other.write_bytes(pcap(ways[1 - recorded]))
    analysis = analyze(one, other_side=other)
    assert ((), (0,)) == (analysis.other_side.renumbered, analysis.other_side.opposite)
    assert "each of them holds one direction only, and not the same" in finding(analysis, "other-side-unmatched").message


def test_ports_used_again_are_told_apart(tmp_path):
    talk = Talk().opened().client(b"first")
    again = Talk(client_isn=70_000, server_isn=80_000, now=talk.now + 10 * S).opened().client(b"second")
    both, second = tmp_path / "both.pcap", tmp_path / "second.pcap"
    both.write_bytes(pcap(talk.packets + again.packets))
    second.write_bytes(pcap(again.packets))
    analysis = analyze(both, other_side=second)
    assert [(1, 0)] == [(one.connection, one.other) for one in analysis.other_side.counterparts]
    assert [(3, 3), (1, 1)] == [(way.sent, way.arrived) for way in analysis.other_side.counterparts[0].passage]


def test_connection_that_only_sent_syns_is_compared(tmp_path):
    talk = Talk()
    for pause in (0, 1, 2, 4):
        talk.wait(pause).client(flags=SYN, ack=0, seq=1000)
    talk.server(flags=SYN | ACK, ack=1001)
    server, client = tmp_path / "server.pcap", tmp_path / "client.pcap"
    server.write_bytes(pcap(talk.packets))
    client.write_bytes(pcap(talk.packets[:-1]))
    analysis = analyze(server, other_side=client)
    assert 4 == analysis.other_side.counterparts[0].passage.to_server.arrived


def test_other_side_without_tcp_says_so(tmp_path, sides):
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(pcap([]))
    analysis = analyze(sides[0], other_side=empty)
    assert "it holds no TCP connection" in finding(analysis, "other-side-unmatched").message
    assert "0 of 2 connections are in both" in " ".join(render(analysis).split())


def test_other_side_that_cannot_be_read_is_an_error_that_names_it(tmp_path, sides):
    with pytest.raises(CaptureError, match=r"missing\.pcap: no such file"):
        analyze(sides[0], other_side=tmp_path / "missing.pcap")


def test_copies_in_the_trace_are_not_called_lost(sides):
    server, client = sides
    alone, copied = (
        [(one.passage.to_server.lost, one.passage.to_client.lost) for one in analyze(trace, other_side=client).other_side.counterparts]
        for trace in (server, [server, client])
    )
    assert [(0, 0), (0, 9)] == alone == copied


def test_packets_that_nothing_tells_apart_are_not_compared(tmp_path):
    frame = ethernet(ip(tcp(seq=1000, ack=0, flags=SYN)))
    capture = tmp_path / "syn.pcap"
    capture.write_bytes(pcap([Packet(frame, 0), Packet(frame, S)]))
    analysis = analyze(capture, other_side=capture)
    assert (0,) == analysis.other_side.indistinct
    assert "each of them more than once in one of the captures" in finding(analysis, "other-side-unmatched").message


@pytest.mark.parametrize("options", [b"", tsval(7)])
def test_what_is_sent_again_at_once_is_no_copy_of_what_was_lost(tmp_path, options):
    """Between neighbours a loss is repaired within the millisecond of a timestamp: both transmissions look the same."""
    ends = (("2001:db8::1", 40000), ("2001:db8::2", 2376))

    def packet(way, seq, ack, flags, data, at_us):
        source, destination = ends[way], ends[1 - way]
        return Packet(ethernet(ip(tcp(source, destination, seq, ack, flags, data, 500, options), source, destination)), START + 1000 * at_us)

    sent = [packet(0, 0, 0, SYN, b"", 0), packet(1, 0, 1, SYN | ACK, b"", 40), packet(0, 1, 1, ACK, b"", 50)]
    sent += [packet(0, 1, 1, ACK, b"lost", 5000), packet(0, 5, 1, ACK, b"next", 5001), packet(0, 1, 1, ACK, b"lost", 5040)]
    sent += [packet(1, 1, 1, ACK, b"", 5030), packet(1, 1, 9, ACK, b"", 5070), packet(0, 9, 1, ACK, b"done", 3_000_000)]
    sent.sort(key=lambda one: one.ts_ns)
    arrived = [Packet(one.frame, one.ts_ns + (10_000 if one.frame[22:38] == ipaddress.ip_address(ends[0][0]).packed else -10_000)) for one in sent]
    del arrived[3]
    client, server = tmp_path / "client.pcap", tmp_path / "server.pcap"
    client.write_bytes(pcap(sent))
    server.write_bytes(pcap(sorted(arrived, key=lambda one: one.ts_ns)))
    (kept,) = analyze(client, other_side=server).other_side.counterparts
    assert (6, 1) == (kept.passage.to_server.sent, kept.passage.to_server.lost)
