"""Which packets are one connection, who is the client, how it ended."""

from pathlib import Path

import pytest

from captool.packets.decode import Decoder
from captool.tcp.tracker import Tracker
from tests.builders import ACK, FIN, RST, SECOND, START, SYN, Packet, Talk, analyze, connection, ethernet, ip, pcap, tcp, tsval
from tests.findings.judged import with_hops


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def closed(talk: Talk) -> Talk:
    return talk.client(flags=ACK | FIN).server(flags=ACK | FIN).client()


@pytest.mark.parametrize(
    ("talk", "state", "close", "closed_by"),
    [
        (Talk().client(flags=SYN, ack=0), "S0", "open", None),
        (Talk().opened().client(b"a").server(), "S1", "open", None),
        (closed(Talk().opened().client(b"a").server(b"b")), "SF", "fin", "client"),
        (Talk().opened().client(flags=ACK | FIN).server(), "S2", "fin", "client"),
        (Talk().opened().server(flags=ACK | FIN).client(), "S3", "fin", "server"),
        (Talk().client(flags=SYN, ack=0).server(flags=RST | ACK), "REJ", "rst", "server"),
        (Talk().opened().client(b"a").client(flags=RST), "RSTO", "rst", "client"),
        (Talk().opened().client(b"a").server(flags=RST), "RSTR", "rst", "server"),
        (Talk().client(flags=SYN, ack=0).client(flags=RST), "RSTOS0", "rst", "client"),
        (Talk().client(flags=SYN, ack=0).client(flags=FIN), "SH", "fin", "client"),
        (Talk().server(flags=SYN | ACK).server(flags=RST), "RSTRH", "rst", "server"),
        (Talk().server(flags=SYN | ACK).server(flags=FIN), "SHR", "fin", "server"),
        (Talk().client(b"a").server(b"b"), "OTH", "open", None),
    ],
)
def test_conn_state(path: Path, talk: Talk, state: str, close: str, closed_by: str | None) -> None:
    seen = connection(path, talk)
    assert (state, close, closed_by) == (seen.conn_state, seen.close, seen.closed_by)


def test_history_has_each_letter_once_in_order(path: Path) -> None:
    talk = Talk().opened().client(b"a").server().server(b"b").client().client(b"c", captured=False).client(b"d")
    talk.client(b"d", seq=talk.next[0] - 1).server(window=0)
    assert "ShADadGTwFf" == connection(path, closed(talk)).history


def test_all_eighteen_history_letters_fit(path: Path) -> None:
    talk = Talk().opened().client(b"a").server(b"b").client().server()
    for say in (talk.client, talk.server):
        say(b"x", captured=False)
        say(b"xy")
        say(b"xy", seq=talk.next[say == talk.server] - 2)
        say(window=0)
    talk.client(flags=SYN | ACK, seq=1000).server(flags=SYN, seq=5000, ack=0)
    closed(talk).client(flags=RST).server(flags=RST)
    assert sorted("SHADFRTWGshadfrtwg") == sorted(connection(path, talk).history)


def test_a_syn_sent_again_is_the_same_connection(path: Path) -> None:
    talk = Talk().client(flags=SYN, ack=0).wait(1).client(flags=SYN, ack=0, seq=1000).server(flags=SYN | ACK).client().client(b"a")
    assert (3 + 1, 0) == (connection(path, talk).packets.to_server, connection(path, talk).retransmissions.to_server)


@pytest.mark.parametrize("ended", [True, False])
def test_the_same_ports_with_a_new_initial_number_are_another_connection(path: Path, ended: bool) -> None:
    first = Talk().opened().client(b"one").server()
    if ended:
        closed(first)
    second = Talk(client_isn=90_000, server_isn=70_000, now=first.now).opened().client(b"two").server()
    _, connections, pieces = analyze(path, first.packets + second.packets)
    assert [(0, b"one"), (1, b"two")] == [(piece.connection, piece.data) for piece in pieces]
    assert ["SF" if ended else "S1", "S1"] == [seen.conn_state for seen in connections]


def test_simultaneous_open_is_one_connection(path: Path) -> None:
    talk = Talk().client(flags=SYN, ack=0).server(flags=SYN, ack=0)
    talk.client(flags=SYN | ACK, seq=1000).server(flags=SYN | ACK, seq=5000).client(b"a").server(b"b")
    seen = connection(path, talk)
    assert ("10.0.0.1", True) == (seen.client.ip, seen.handshake_seen)


@pytest.mark.parametrize(("source", "destination"), [(2376, 40000), (40000, 2376)])
def test_mid_stream_the_service_port_is_the_server(path: Path, source: int, destination: int) -> None:
    frames = [Packet(ethernet(ip(tcp(("10.0.0.1", source), ("10.0.0.2", destination), payload=b"x"))))]
    _, (seen,), _ = analyze(path, frames)
    assert (2376, True) == (seen.server.port, seen.client_guessed)
    assert ("^d" if source == 2376 else "D") == seen.history


def test_mid_stream_without_a_service_port_the_higher_port_is_the_client(path: Path) -> None:
    _, (seen,), _ = analyze(path, [Packet(ethernet(ip(tcp(("10.0.0.1", 443), ("10.0.0.2", 5000)))))])
    assert ("10.0.0.2", "10.0.0.1") == (seen.client.ip, seen.server.ip)


def test_with_only_ports_other_connections_are_passed_over(path: Path) -> None:
    wanted = Talk(client_end=("10.0.0.1", 41000)).opened().client(b"a")
    other = Talk(server_end=("10.0.0.2", 443)).opened().client(b"b")
    back = Talk(client_end=("10.0.0.1", 2376), server_end=("10.0.0.2", 8080)).opened().client(b"c")
    summary, connections, pieces = analyze(path, other.packets + back.packets + wanted.packets, only_ports=(2376,))
    assert [(0, 41000)] == [(seen.id, seen.client.port) for seen in connections]
    assert [b"a"] == [piece.data for piece in pieces]
    assert 12 == summary.tcp_packets


def test_ipv4_and_ipv6_addresses_with_the_same_lower_half_are_different(path: Path) -> None:
    four = Talk().opened().client(b"4")
    six = Talk(client_end=("2001:db8::ffff:a00:1", 40000), server_end=("2001:db8::ffff:a00:2", 2376)).opened().client(b"6")
    _, connections, pieces = analyze(path, four.packets + six.packets)
    assert ["10.0.0.1", "2001:db8::ffff:a00:1"] == [seen.client.ip for seen in connections]
    assert [b"4", b"6"] == [piece.data for piece in pieces]


def doubled(talk: Talk, shift_ns: int) -> list[Packet]:
    return [copy for packet in talk.packets for copy in (packet, Packet(packet.frame, packet.ts_ns + shift_ns))]


def test_frames_seen_twice_are_counted_and_ignored(path: Path) -> None:
    talk = closed(Talk().opened().client(b"abc").server(b"d"))
    summary, (seen,), pieces = analyze(path, doubled(talk, 3000))
    assert (8, 16, 16) == (summary.duplicate_packets, summary.packets, summary.tcp_packets)
    assert ((5, 3), (0, 0)) == (tuple(seen.packets), tuple(seen.retransmissions))
    assert [b"abc", b"d"] == [piece.data for piece in pieces]


def test_bursts_seen_twice_one_after_the_other_are_duplicates_too(path: Path) -> None:
    talk = Talk().opened()
    start = talk.now
    for _ in range(4):
        talk.client(b"x" * 100)
    for packet in talk.packets[3:]:
        packet.ts_ns = start + 1000
    again = [Packet(packet.frame, start + 40_000) for packet in talk.packets[3:]]
    summary, (seen,), _ = analyze(path, talk.packets + again)
    assert (4, 0) == (summary.duplicate_packets, seen.retransmissions.to_server)


@pytest.mark.parametrize("between", [3, 30, 300])
def test_copies_are_told_with_a_burst_between_a_packet_and_its_copy(path: Path, between: int) -> None:
    """As on two interfaces of which one has a queue; the handshake shows that packets were captured twice."""
    talk = Talk().opened()
    for _ in range(500):
        talk.server(b"x" * 100)
    step_ns = 10_000
    for number, packet in enumerate(talk.packets):
        packet.ts_ns = START + number * step_ns
    again = [Packet(packet.frame, packet.ts_ns + (1000 if number < 3 else between * step_ns + 1)) for number, packet in enumerate(talk.packets)]
    summary, (seen,), _ = analyze(path, sorted(talk.packets + again, key=lambda packet: packet.ts_ns))
    assert (len(talk.packets), 0) == (summary.duplicate_packets, sum(seen.retransmissions))


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("burst", [5, 16, 100])
def test_the_first_burst_that_is_seen_twice_is_told_too(path: Path, streams: bool, burst: int) -> None:
    """No packet before it was captured twice: recording began at one interface first."""
    talk = Talk().opened().client(b"q").server(b"a").client()
    first = len(talk.packets)
    for _ in range(burst):
        talk.client(b"x" * 100)
    for number, packet in enumerate(talk.packets[first:]):
        packet.ts_ns = talk.packets[first].ts_ns + 1000 * number
    again = [Packet(packet.frame, packet.ts_ns + 100_000) for packet in talk.packets[first:]]
    # Of one batch of packets those are predicted whose connection was there before it.
    summary, (seen,), _ = analyze(path, talk.packets + again, chunk_size=300, streams=streams)
    assert (burst, 0) == (summary.duplicate_packets, seen.retransmissions.to_server)


def test_connections_alike_in_everything_but_their_ends_are_no_copies_of_each_other(path: Path) -> None:
    talks = [Talk(client_end=("10.0.0.1", 10000 + number)).opened().client(b"abc").server(b"d") for number in range(200)]
    packets = sorted((packet for talk in talks for packet in (*talk.packets, talk.packets[0])), key=lambda packet: packet.ts_ns)
    summary, connections, _ = analyze(path, packets)
    assert (200, 200) == (summary.duplicate_packets, len(connections))
    assert {(3, 2)} == {tuple(seen.packets) for seen in connections}


def test_a_retransmission_has_an_identification_of_its_own_and_is_no_duplicate(path: Path) -> None:
    talk = Talk().opened().client(b"abc")
    talk.client(b"abc", seq=talk.next[0] - 3)
    summary, (seen,), _ = analyze(path, talk.packets)
    assert (0, 1) == (summary.duplicate_packets, seen.retransmissions.to_server)


def test_a_timestamp_does_not_tell_a_copy_from_what_is_sent_again_at_once(path: Path) -> None:
    """Between hosts of one rack a round trip takes microseconds, the timestamp goes on every millisecond."""
    ends = (("2001:db8::1", 40000), ("2001:db8::2", 2376))
    frames = [ethernet(ip(tcp(*ends, payload=b"abc", options=tsval(value)), *ends)) for value in (7, 7, 8)]
    summary, (seen,), _ = analyze(path, [Packet(frame) for frame in frames])
    assert (0, 2) == (summary.duplicate_packets, sum(seen.retransmissions))


def test_where_a_syn_was_captured_twice_all_packets_were(path: Path) -> None:
    talk = closed(Talk(client_end=("2001:db8::1", 40000), server_end=("2001:db8::2", 2376)).opened().client(b"abc").server(b"d"))
    summary, (seen,), _ = analyze(path, doubled(talk, 3000))
    assert (len(talk.packets), len(talk.packets), 0) == (summary.duplicate_packets, sum(seen.packets), sum(seen.retransmissions))


@pytest.mark.parametrize("hops", [63, 65])
def test_the_same_packet_with_another_hop_limit_was_captured_behind_a_router(path: Path, hops: int) -> None:
    talk = Talk(client_end=("2001:db8::1", 40000), server_end=("2001:db8::2", 2376)).opened().client(b"abc").server(b"d").client()
    routed = [Packet(packet.frame[:21] + bytes([hops]) + packet.frame[22:], packet.ts_ns + 3000) for packet in talk.packets]
    both = sorted(talk.packets + routed, key=lambda packet: packet.ts_ns)
    summary, (seen,), _ = analyze(path, both)
    assert (6, 6, 0) == (summary.duplicate_packets, sum(seen.packets), sum(seen.retransmissions))


def test_a_closed_connection_is_handed_out_after_its_linger_time_and_late_packets_belong_to_it(path: Path) -> None:
    talk = closed(Talk().opened().client(b"a").server(b"b")).wait(30).server(flags=ACK | FIN, seq=5002)
    later = Talk(client_end=("10.0.0.9", 1), now=talk.now).opened().wait(200).client(b"z").wait(200).client(b"z")
    path.write_bytes(pcap(talk.packets + later.packets))
    from captool.capture.reader import CaptureReader

    decoder, tracker = Decoder(), Tracker()
    closings = []
    with CaptureReader([path], chunk_size=150) as reader:
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
            closings += [(seen.id, frames.first_packet) for seen in tracker.take_closed()]
    assert [0] == [number for number, _ in closings]
    tracker.finish()
    assert [1] == [seen.id for seen in tracker.take_closed()]


def test_the_table_of_connections_survives_growth_and_removal(path: Path) -> None:
    packets: list[Packet] = []
    now = Talk().now
    for number in range(3000):
        talk = Talk(client_end=(f"10.0.{number >> 8}.{number & 255}", 1024 + number), client_isn=number * 7, now=now)
        now += 100_000_000
        talk.opened().client(b"%d" % number).server()
        packets += (closed(talk) if number % 3 else talk).packets
    packets.sort(key=lambda packet: packet.ts_ns)
    _, connections, pieces = analyze(path, packets, chunk_size=30_000)
    assert list(range(3000)) == sorted(seen.id for seen in connections)
    by_id = {seen.id: seen for seen in connections}
    assert all(b"%d" % (by_id[piece.connection].client.port - 1024) == piece.data for piece in pieces)
    assert 1000 == sum(seen.conn_state == "S1" for seen in connections)


def test_stopping_a_stream_gives_no_more_pieces_and_tracks_on(path: Path) -> None:
    talk = Talk().opened().client(b"a").server(b"b").client(b"c", captured=False).client(b"d").server(b"e")
    path.write_bytes(pcap(talk.packets))
    from captool.capture.reader import CaptureReader

    decoder, tracker = Decoder(), Tracker()
    pieces = []
    with CaptureReader([path], chunk_size=120) as reader:
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
            for piece in tracker.take_pieces():
                pieces.append(piece.data)
                tracker.stop_stream(piece.connection)
    assert (1 + 2, 1) == (tracker.acknowledged(0, 0), tracker.acknowledged(0, 1))
    tracker.finish()
    assert [b"a"] == pieces + [piece.data for piece in tracker.take_pieces()]
    assert 1 == tracker.take_closed()[0].stream_holes.to_server


@pytest.mark.slow
def test_many_packets_in_order_are_counted_across_every_wrap_of_what_is_kept_in_few_bits(path: Path) -> None:
    # 16 bits of packets, 32 of sequence numbers, the memory of the last 32,768 packets: one connection speaks, another is heard once in each round.
    count = 70_000
    seldom = Talk(client_end=("10.0.0.9", 7), now=START).opened()
    talk = Talk(client_isn=(1 << 32) - 5000, now=START + SECOND).opened()
    packets = [*seldom.packets, *talk.packets]
    sent = 0
    while len(packets) < count:
        if (len(packets) + 1) % 32_768 == 3:  # the number of the packet with which `seldom` fell silent
            seldom.packets, seldom.now = [], talk.now
            packets += seldom.client(b"x").packets
        talk.packets = []
        packets += talk.client(b"y" * 100).server().packets
        sent += 100
    path.write_bytes(pcap(packets))
    from captool.capture.reader import CaptureReader

    decoder, tracker = Decoder(), Tracker(streams=False)
    with CaptureReader([path]) as reader:
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
    tracker.finish()
    quiet, seen = tracker.take_closed()
    assert 0 == tracker.duplicate_packets
    assert (sent, 0) == tuple(seen.payload_bytes)
    assert (sent, 0) == tuple(seen.acknowledged_offset)
    assert sum(seen.packets) + sum(quiet.packets) == len(packets)
    assert (0, 0) == tuple(seen.retransmissions)


def test_the_acknowledgement_of_a_reset_tells_what_arrived(path: Path) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client().server(b"x" * 100)
    seen = connection(path, talk.client(flags=RST | ACK))
    assert ((0, 0), (None, None)) == (tuple(seen.unacknowledged_bytes), tuple(seen.unanswered))
    assert seen.reset is not None
    assert (100, 103) == (seen.reset.newly_acknowledged, seen.acknowledged_offset.to_client)


@pytest.mark.parametrize("forged", ["hops", "number", "sequence", "unsent"])
def test_the_acknowledgement_of_a_reset_that_does_not_look_like_its_sides_packets_is_not_believed(path: Path, forged: str) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client().server(b"x" * 100)
    talk.client(flags=RST | ACK, seq=talk.next[0] + (forged == "sequence"), ack=talk.next[1] + 900 * (forged == "unsent"))
    if forged == "hops":
        talk.packets[-1] = with_hops(talk.packets[-1], 63)
    if forged == "number":
        frame = talk.packets[-1].frame
        talk.packets[-1] = Packet(frame[:18] + b"\0\0" + frame[20:], talk.packets[-1].ts_ns)
    assert (0, 100) == tuple(connection(path, talk).unacknowledged_bytes)


def test_a_syn_that_is_tried_again_after_the_answer_of_an_older_connection_was_reset_opens_another(path: Path) -> None:
    """A server in TIME_WAIT answers with the numbers of the old connection (RFC 5961 4); the client resets that and tries again."""
    old = closed(Talk().opened().client(b"a"))
    new = Talk(client_isn=900000, server_isn=700000, now=old.now + 2 * SECOND).client(flags=SYN, ack=0)
    new.server(seq=old.next[1], ack=old.next[0]).client(flags=RST, seq=old.next[0])
    new.wait(1).client(flags=SYN, ack=0, seq=900000)
    new.next = [900001, 700000]
    new.server(flags=SYN | ACK).client().client(b"b").server(b"c").client()
    _, connections, _ = analyze(path, old.packets + new.packets)
    assert [("SF", True), ("RSTO", False), ("S1", True)] == [(seen.conn_state, seen.handshake_seen) for seen in connections]


def test_a_reset_after_which_its_side_goes_on_ended_nothing(path: Path) -> None:
    """Injected into the connection, and not at the next byte: the client ignores it (RFC 5961 3.2)."""
    talk = Talk().opened().client(b"GET /").server(b"200").client()
    talk.server(flags=RST, seq=talk.next[1] + 500, window=0)
    talk.next[1] -= 500
    talk.client(b"more").server(b"yes").client()
    seen = connection(path, talk)
    assert ("open", None, None, None, "S1") == (seen.close, seen.closed_by, seen.reset, seen.closing, seen.conn_state)
    talk.wait(400).client(b"much later").server(b"yes").client().client(flags=ACK | FIN).server(flags=ACK | FIN).client()
    later = connection(path, talk)
    assert ("fin", "client", "SF") == (later.close, later.closed_by, later.conn_state)
    assert [400 * SECOND] == [gap.duration_ns // SECOND * SECOND for gap in later.gaps]


def test_what_was_under_way_when_the_reset_was_sent_does_not_refute_it(path: Path) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client(b"more")
    before = talk.next[1]
    talk.server(b"late", captured=False).server(flags=RST, window=0)
    talk.packets.append(Packet(ethernet(ip(tcp(talk.server_end, talk.client_end, before, talk.next[0], payload=b"late"), talk.server_end, talk.client_end, 7)), talk.now + 9000))
    assert "rst" == connection(path, talk).close
