"""Stream pieces on their way through the layers."""

import pytest

from captool.conversation import Conversation, by_segment, feed_stream
from captool.direction import Direction, Moment, PerDirection
from captool.dockerapi.conversation import DockerConversation
from captool.keys.material import KeyRing
from captool.tcp.connection import StreamPiece
from captool.tls.record_reader import RecordReader
from tables import START, S, tcp

REQUEST = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
ATTACH = b"POST /containers/a/attach?stream=1 HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def piece(data, direction=Direction.TO_SERVER, offset=0, marks=((0, 1, START),), **changes):
    offsets, packets, times = (list(column) for column in zip(*marks, strict=True))
    fields = {"missing_before": 0, "snapped": False, "from_start": True, **changes}
    return StreamPiece(0, direction, offset, data, fields["missing_before"], fields["snapped"], fields["from_start"], offsets, packets, times)


def test_each_segment_of_a_piece_keeps_its_packet_and_its_end():
    marks = ((0, 1, START), (3, 2, START + S), (5, 3, START + 2 * S))
    assert [(b"abc", 3, Moment(1, START)), (b"de", 5, Moment(2, START + S)), (b"fgh", 8, Moment(3, START + 2 * S))] == list(
        by_segment(piece(b"abcdefgh", marks=marks))
    )


def test_a_piece_may_begin_within_its_first_segment():
    assert [(b"cde", 5, Moment(1, START)), (b"f", 6, Moment(2, START))] == list(
        by_segment(piece(b"cdef", offset=2, marks=((0, 1, START), (5, 2, START))))
    )


def test_plain_http_is_read_without_tls():
    conversation = Conversation(KeyRing(), piece(REQUEST))
    conversation.feed(piece(REQUEST), 0)
    conversation.feed(piece(RESPONSE, Direction.TO_CLIENT, marks=((0, 2, START + S),)), len(RESPONSE))
    summary, (exchange,) = conversation.finish(tcp())
    assert summary is None
    assert ("SystemPing", 200, True) == (exchange.endpoint, exchange.http.status, exchange.http.complete)


@pytest.mark.parametrize(
    ("close", "history", "over"),
    [("fin", "ShADadF", False), ("fin", "ShADadfF", True), ("fin", "ShADadFf", True), ("fin", "ShADadf", True), ("rst", "ShADadFR", True), ("open", "ShADad", False)],
)
def test_an_attach_goes_on_while_only_the_client_has_closed_its_side(close, history, over):
    """`echo input | docker run -i ...`: the docker client sends a FIN when its input has ended, and prints what comes later."""
    conversation = Conversation(KeyRing(), piece(ATTACH))
    conversation.feed(piece(ATTACH), 0)
    conversation.feed(piece(UPGRADED, Direction.TO_CLIENT, marks=((0, 2, START + S),)), len(UPGRADED))
    _, (exchange,) = conversation.finish(tcp(close=close, history=history))
    assert (over, over) == (exchange.http.complete, exchange.http.end is not None)


@pytest.mark.parametrize(("direction", "data"), [(Direction.TO_CLIENT, b"SSH-2.0-OpenSSH_9.2\r\n"), (Direction.TO_SERVER, b"\0\1\2")])
def test_what_begins_neither_as_tls_nor_as_a_request_is_not_wanted(direction, data):
    assert not Conversation(KeyRing(), piece(data, direction)).wants_more


def test_capture_that_begins_within_tls_says_so():
    middle = piece(b"\x17\x03\x03\x00\x20" + bytes(32), from_start=False)
    conversation = Conversation(KeyRing(), middle)
    conversation.feed(middle, 0)
    summary, exchanges = conversation.finish(tcp(packets=PerDirection(1, 1)))
    assert ("encrypted", "handshake-not-captured", ()) == (summary.status, summary.reason, exchanges)


def run_of(texts):
    """Records whose openings are no riddle: number n ends at offset 10 * n and came with packet n."""
    data = b"".join(b"\x17\x03\x03" + (5).to_bytes(2) + bytes([number]) * 5 for number in range(len(texts)))
    packets = range(1, len(texts) + 1)
    marks = [10 * number for number in range(len(texts))], list(packets), [START + packet * S for packet in packets]
    reader, released = RecordReader(Direction.TO_CLIENT, *marks, len(data)), []
    reader.turn_to(data, 0, 0)
    reader.read(lambda sequence, *place: texts[sequence], False, released)
    (run,) = released
    return run


def attached():
    docker = DockerConversation()
    docker.feed(Direction.TO_SERVER, ATTACH, Moment(1, START), 1, None)
    docker.feed(Direction.TO_CLIENT, UPGRADED, Moment(2, START), 1, None)
    assert docker.joins(Direction.TO_CLIENT)
    return docker


def one_by_one(docker, run, first, acknowledged):
    for plain in run.records()[first:]:
        docker.feed(Direction.TO_CLIENT, plain.data, Moment(plain.packet, plain.ts_ns), plain.stream_end, acknowledged)


TEXTS = [b"\x01\0\0", b"\0\0\0", b"\0\x04o", b"ne\n\x02", b"\0\0\0\0", b"\0\6tw", b"olf\n", b"\1\0\0\0\0\0", b"\0\2ab", b"\2\0"]


@pytest.mark.parametrize("acknowledged", [None, 0, *range(5, 110, 5)])
@pytest.mark.parametrize("texts", [TEXTS, [b"ab", b"c", b"", b"d"], [TEXTS[0], b"\0\0\0\0\1", b"x", b"nonsense", b"and more"]])
def test_records_that_are_handed_on_together_tell_the_same(acknowledged, texts):
    """A twin that gets every record by itself: the same exchanges, sizes, losses and moments, where frames end and where they are cut."""
    run = run_of(texts)
    twin, docker = attached(), attached()
    one_by_one(twin, run, 0, acknowledged)
    arrived = run.acknowledged(0, acknowledged)
    if arrived:
        feed_stream(docker, run, 0, arrived, acknowledged)
    one_by_one(docker, run, arrived, acknowledged)
    assert all(plain.stream_end <= acknowledged for plain in run.records()[:arrived] if acknowledged is not None)
    end = Moment(90, START + 90 * S)
    assert twin.finish(end, acknowledged, closed=False) == docker.finish(end, acknowledged, closed=False)


def test_a_run_of_records_tells_of_each_what_it_was():
    run = run_of([b"ab", b"", b"cde", b"f"])
    assert [(b"ab", 10, 1), (b"cde", 30, 3), (b"f", 40, 4)] == [(plain.data, plain.stream_end, plain.packet) for plain in run.records()]
    assert (b"abcdef", 3) == (bytes(run.data), run.count)
    assert [0, 0, 1, 1, 1, 2] == [run.record_at(place) for place in range(6)]
    assert [0, 2, 5, 6] == [run.until(record) for record in range(4)]
    assert [3, 0, 1, 2, 3] == [run.acknowledged(0, offset) for offset in (None, 9, 10, 30, 40)]
    assert 1 == run.acknowledged(1, 0)


def test_with_a_sink_every_record_keeps_its_moment():
    docker = DockerConversation(lambda output: None)
    docker.feed(Direction.TO_SERVER, b"POST /containers/a/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", Moment(1, START), 1, None)
    docker.feed(Direction.TO_CLIENT, b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", Moment(2, START), 1, None)
    assert not docker.joins(Direction.TO_CLIENT)
