"""The packets that are kept for comparing: all of them within the bounds, else the first and the last."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import ACK, CLIENT, SERVER, SYN, Packet, Talk, ethernet, ip, pcap, tcp
from captool.capture.reader import CaptureReader
from captool.packets.decode import Decoder
from captool.tcp.connection import Endpoint
from captool.tcp.packet_log import PacketLog

ENDS = [("10.0.0.1", 40000), ("10.0.0.2", 2376), ("10.0.0.2", 40000), ("2001:db8::1", 40000), ("2001:db8:ffff::2", 2376), ("::2", 1)]


def logged(path, packets, log=None, chunk_size=1 << 20):
    path.write_bytes(pcap(packets))
    log, decoder = log or PacketLog(), Decoder()
    with CaptureReader([path], chunk_size=chunk_size) as reader:
        for frames in reader.chunks():
            log.add(frames, decoder.decode(frames))
    return log


def rows(log, one=CLIENT, other=SERVER):
    return list(log.rows(Endpoint(*one), Endpoint(*other)))


def test_packets_of_both_directions_are_kept_with_what_tells_them_apart(tmp_path):
    talk = Talk().opened().client(b"x" * 10)
    log = logged(tmp_path / "a.pcap", talk.packets)
    assert [
        (True, talk.packets[0].ts_ns, 1, 1000, 0, SYN, 0, 101, 64),
        (False, talk.packets[1].ts_ns, 2, 5000, 1001, SYN | ACK, 0, 102, 64),
        (True, talk.packets[2].ts_ns, 3, 1001, 5001, ACK, 0, 103, 64),
        (True, talk.packets[3].ts_ns, 4, 1001, 5001, ACK | 8, 10, 104, 64),
    ] == rows(log)
    assert [not row[0] for row in rows(log)] == [row[0] for row in rows(log, SERVER, CLIENT)]
    assert (0, None) == (log.given_back(Endpoint(*CLIENT), Endpoint(*SERVER)), log.hole(Endpoint(*CLIENT), Endpoint(*SERVER)))
    assert [] == rows(log, CLIENT, CLIENT)


PAIRS = [(one, other) for one in ENDS for other in ENDS if one != other and (":" in one[0]) == (":" in other[0])]
segments = st.lists(
    st.tuples(st.sampled_from(PAIRS), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 40)).map(
        lambda one: (*one[0], *one[1:])
    ),
    max_size=60,
)


@settings(deadline=None)
@given(segments)
def test_log_keeps_what_a_list_for_each_pair_of_ends_keeps(tmp_path_factory, sent):
    packets, kept = [], defaultdict(list)
    for number, (source, destination, seq, ack, length) in enumerate(sent, 1):
        packets.append(Packet(ethernet(ip(tcp(source, destination, seq, ack, payload=bytes(length)), source, destination, number)), number))
        mark = -1 if ":" in source[0] else number
        kept[frozenset((source, destination))].append((source, number, number, seq, ack, ACK, length, mark, 64))
    log = logged(tmp_path_factory.mktemp("log") / "a.pcap", packets, chunk_size=600)
    for one in ENDS:
        for other in ENDS:
            if one != other:
                expected = [(source == one, *rest) for source, *rest in kept[frozenset((one, other))]]
                assert expected == rows(log, one, other)
    assert 0 == log.unlogged_packets


@settings(deadline=None)
@given(segments, segments, st.booleans(), st.integers(0, 5))
def test_digests_are_equal_where_the_packets_are(tmp_path_factory, sent, other, same, after):
    """The twin compares the packets themselves; the times and numbers of the last ones are those of the lists."""
    folder, logs = tmp_path_factory.mktemp("log"), []
    for name, segments_of in (("a.pcap", sent), ("b.pcap", sent if same else other)):
        frames = [
            ethernet(ip(tcp(source, destination, seq, ack, payload=bytes(length)), source, destination, number))
            for number, (source, destination, seq, ack, length) in enumerate(segments_of, 1)
        ]
        logs.append(logged(folder / name, [Packet(frame, 7 * number) for number, frame in enumerate(frames)]))
    for one, two in ((ENDS[0], ENDS[1]), (ENDS[1], ENDS[2]), (ENDS[3], ENDS[4])):
        digests = [log.digest(Endpoint(*one), Endpoint(*two), after, 10**9) for log in logs]
        lists = [[[row for row in rows(log, one, two) if row[0] == way and row[2] > after] for way in (True, False)] for log in logs]
        for way in range(2):
            told = [[row[3:8] for row in some[way]] for some in lists]
            assert (told[0] == told[1]) == (digests[0][way][:2] == digests[1][way][:2])
            last = lists[0][way][-1] if lists[0][way] else (0, 0, 0)
            assert (len(lists[0][way]), last[2], last[1]) == (digests[0][way][0], *digests[0][way][2:])


@settings(deadline=None)
@given(st.integers(1, 600), st.integers(0, 200), st.integers(1, 30), st.integers(0, 30))
def test_bounded_log_keeps_the_first_packets_and_the_last(tmp_path_factory, long, most, others, blocks):
    talk = Talk()
    for _ in range(long):
        talk.client()
    for port in range(others):
        talk.packets += Talk(client_end=("10.0.0.9", 1 + port), now=talk.now).client().packets
    log = logged(tmp_path_factory.mktemp("log") / "a.pcap", talk.packets, PacketLog(16 * blocks, most))
    numbers = [row[2] for row in rows(log)]
    given_back = log.given_back(Endpoint(*CLIENT), Endpoint(*SERVER))
    assert numbers == sorted(set(numbers))
    assert numbers[:16] == list(range(1, 1 + min(16, long)))
    tail = numbers[16:]
    dropped_at_the_end = long - given_back - len(numbers)
    assert tail == list(range(tail[0], tail[0] + len(tail))) if tail else True
    if tail and not dropped_at_the_end:
        assert long == tail[-1]
    if given_back:
        assert talk.packets[15].ts_ns == log.hole(Endpoint(*CLIENT), Endpoint(*SERVER))[0]
    assert len(numbers) <= max(48, most + 16)
    shorts = [rows(log, ("10.0.0.9", 1 + port), SERVER) for port in range(others)]
    assert long + others == given_back + len(numbers) + sum(map(len, shorts)) + log.unlogged_packets
