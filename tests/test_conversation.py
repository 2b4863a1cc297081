"""Stream pieces on their way through the layers."""

import pytest

from captool.conversation import Conversation, by_segment, joined
from captool.direction import Direction, Moment, PerDirection
from captool.dockerapi.conversation import DockerConversation
from captool.keys.material import KeyRing
from captool.tcp.connection import StreamPiece
from captool.tls.summary import Plaintext
from tables import START, S, tcp

REQUEST = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
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


@pytest.mark.parametrize(("direction", "data"), [(Direction.TO_CLIENT, b"SSH-2.0-OpenSSH_9.2\r\n"), (Direction.TO_SERVER, b"\0\1\2")])
def test_what_begins_neither_as_tls_nor_as_a_request_is_not_wanted(direction, data):
    assert not Conversation(KeyRing(), piece(data, direction)).wants_more


def test_capture_that_begins_within_tls_says_so():
    middle = piece(b"\x17\x03\x03\x00\x20" + bytes(32), from_start=False)
    conversation = Conversation(KeyRing(), middle)
    conversation.feed(middle, 0)
    summary, exchanges = conversation.finish(tcp(packets=PerDirection(1, 1)))
    assert ("encrypted", "handshake-not-captured", ()) == (summary.status, summary.reason, exchanges)

def record_of(text, end, packet):
    return Plaintext(Direction.TO_CLIENT, text, end, packet, START + packet * S)


@pytest.mark.parametrize("acknowledged", [None, 0, 30, 50, 10_000])
def test_records_that_are_handed_on_together_tell_the_same(acknowledged):
    """A twin that gets every record by itself: the same exchanges, sizes, losses and moments."""
    hello = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    attach = b"POST /containers/a/attach?stream=1 HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    texts = [b"\x01\0\0\0\0\0\0\x04one\n", b"\x02\0\0", b"\0\0\0\0\x06two", b"lf\n\x01\0\0\0\0\0\0\x03abc", b"\x01\0\0\0\0\0\0\x05last\n"]
    records = [record_of(text, 10 * number, number) for number, text in enumerate(texts, 1)]
    told = []
    for plains in (records, joined(records, acknowledged)):
        docker = DockerConversation()
        docker.feed(Direction.TO_SERVER, attach, Moment(1, START), 1, None)
        docker.feed(Direction.TO_CLIENT, hello, Moment(2, START), 1, None)
        assert docker.joins(Direction.TO_CLIENT)
        for plain in plains:
            docker.feed(Direction.TO_CLIENT, plain.data, Moment(plain.packet, plain.ts_ns), plain.stream_end, acknowledged)
        told.append(docker.finish(Moment(9, START + 9 * S), acknowledged, closed=False))
    assert told[0] == told[1]
    assert len(joined(records, 10_000)) == 2
    assert len(joined(records, 30)) == 3
    assert joined(records, 0) == records


def test_with_a_sink_every_record_keeps_its_moment():
    docker = DockerConversation(lambda output: None)
    docker.feed(Direction.TO_SERVER, b"POST /containers/a/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", Moment(1, START), 1, None)
    docker.feed(Direction.TO_CLIENT, b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", Moment(2, START), 1, None)
    assert not docker.joins(Direction.TO_CLIENT)
