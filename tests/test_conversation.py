"""Stream pieces on their way through the layers."""

import pytest

from captool.conversation import Conversation, by_segment
from captool.direction import Direction, Moment, PerDirection
from captool.keys.material import KeyRing
from captool.tcp.connection import StreamPiece
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
