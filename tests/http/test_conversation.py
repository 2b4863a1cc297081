"""Exchanges on one connection: what a sniffer must make of what two ends say to each other."""

import pytest

from captool.http.conversation import HttpConversation
from captool.http.exchange import HttpExchange
from captool.http.pieces import MAX_HELD_BYTES
from captool.http.progress import KEPT_FIRST, KEPT_LAST
from tests.http.dialogue import CLIENT, SERVER, Dialogue, at, attaches, heard, listen, pieces, together

GET = b"GET /info HTTP/1.1\r\nHost: d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ATTACH = b"POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

DIALOGUES: dict[str, Dialogue] = {
    "keep-alive": [(CLIENT, GET), (SERVER, OK), (CLIENT, GET), (SERVER, OK)],
    "pipelined": [(CLIENT, GET + GET + GET), (SERVER, OK + OK + OK)],
    "interim responses": [
        (CLIENT, b"POST /create HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
        (SERVER, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (CLIENT, b"body"),
        (SERVER, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
    ],
    "HEAD with a length": [
        (CLIENT, b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n"),
        (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"),
        (CLIENT, GET),
        (SERVER, OK),
    ],
    "chunks and trailers": [
        (CLIENT, b"POST /build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntar\r\n0\r\n\r\n"),
        (SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nfirst\r\n"),
        (SERVER, b"6;x=y\r\nsecond\r\n0\r\nX-Sum: 1\r\n\r\n"),
        (CLIENT, GET),
        (SERVER, OK),
    ],
    "no body": [
        (CLIENT, b"POST /start HTTP/1.1\r\nHost: d\r\n\r\n"),
        (SERVER, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (CLIENT, GET),
        (SERVER, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        (CLIENT, GET),
        (SERVER, OK),
    ],
    "upgrade": [(CLIENT, ATTACH), (SERVER, UPGRADED), (SERVER, b"\x01\0\0\0\0\0\0\2hi"), (CLIENT, b"stdin\r\n\r\n"), (SERVER, b"more")],
    "upgrade with output in the same piece": [(CLIENT, ATTACH), (SERVER, UPGRADED + b"GET / HTTP/1.1\r\n\r\n")],
    "stdin before the 101": [(CLIENT, ATTACH + b"one\n"), (CLIENT, b"two\n"), (SERVER, UPGRADED + b"out"), (CLIENT, b"three\n")],
    "raw hijack": [
        (CLIENT, b"POST /attach HTTP/1.1\r\nHost: d\r\n\r\n"),
        (SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"),
        (CLIENT, b"in"),
        (SERVER, b"out"),
    ],
    "error after the hijack": [
        (CLIENT, ATTACH),
        (SERVER, b"HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"),
        (SERVER, b"No such container: gone\r\n"),
    ],
    "upgrade declined": [(CLIENT, ATTACH), (SERVER, OK), (CLIENT, GET), (SERVER, OK)],
    "upgrade declined, next request already there": [(CLIENT, ATTACH + GET), (SERVER, OK + OK)],
    "body until the close": [(CLIENT, b"GET /export HTTP/1.0\r\n\r\n"), (SERVER, b"HTTP/1.0 200 OK\r\n\r\ntar"), (SERVER, b"more tar")],
    "response before the request ended": [
        (CLIENT, b"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\ntar"),
        (SERVER, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"),
        (CLIENT, b"tar"),
        (CLIENT, GET),
        (SERVER, OK),
    ],
    "upgrade before the request ended": [
        (CLIENT, b"POST /exec HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: upgrade\r\nContent-Length: 4\r\n\r\n{"),
        (SERVER, UPGRADED + b"out"),
        (CLIENT, b"  }stdin"),
    ],
    "h2c": [
        (CLIENT, b"POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
        (SERVER, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (CLIENT, b"\0\0\0\4\0\0\0\0\0"),
    ],
}


DIALOGUES["target that is not ASCII"] = [(CLIENT, "GET /images/bücher/json HTTP/1.1\r\nHost: d\r\nX: ü\r\n\r\n".encode()), (SERVER, OK)]


def only(conversation: HttpConversation) -> HttpExchange:
    (exchange,) = conversation.exchanges()
    return exchange


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_every_way_to_cut_a_dialogue_says_the_same(dialogue: Dialogue) -> None:
    whole, streams = heard(dialogue)
    assert whole.refusal is None
    one_by_one, same = heard(dialogue, size=1)
    assert (whole.exchanges(), streams) == (one_by_one.exchanges(), same)
    for step, (direction, data) in enumerate(dialogue):
        for split in range(1, len(data)):
            parts = [(number, towards, part) for number, towards, part in pieces(dialogue, 1 << 20) if number != step + 1]
            parts[step:step] = [(step + 1, direction, data[:split]), (step + 1, direction, data[split:])]
            cut, found = listen(parts)
            assert (whole.exchanges(), streams) == (cut.exchanges(), together(found)), (step, split)


@pytest.mark.parametrize("target", ["/attach", "/other"])
@pytest.mark.parametrize("answer", [UPGRADED + b"out", b"HTTP/1.1 200 OK\r\n\r\nout"], ids=["101", "200"])
def test_stdin_at_any_point_of_the_answer_goes_to_the_stream(answer: bytes, target: str) -> None:
    request = ATTACH.replace(b"/attach", target.encode())
    upgraded = answer.startswith(UPGRADED)
    for split in range(len(answer)):
        parts = [(1, CLIENT, request), (2, SERVER, answer[:split]), (3, CLIENT, b"stdin"), (4, SERVER, answer[split:])]
        conversation, found = listen(parts)
        assert only(conversation).hijack == ("upgrade" if upgraded else "raw" if target == "/attach" else None)
        if only(conversation).hijack:
            assert {(0, CLIENT, "hijacked"): b"stdin", (0, SERVER, "hijacked"): b"out"} == together(found)
            assert [3] == [piece.moment.packet for piece in found if piece.direction is CLIENT]


def test_exchange_knows_its_moments_and_sizes() -> None:
    conversation, streams = heard(DIALOGUES["chunks and trailers"])
    build, info = conversation.exchanges()
    assert ("POST", "/build", at(1), 3) == (build.method, build.target, build.request, build.request_body_bytes)
    assert (200, at(2), 11, at(3), True) == (build.status, build.response, build.response_body_bytes, build.end, build.complete)
    assert (at(4), at(5), at(5)) == (info.request, info.response, info.end)
    assert streams[0, SERVER, "body"] == b"firstsecond"


def test_a_target_that_is_not_ascii_is_read_as_the_daemon_reads_it() -> None:
    conversation, _ = heard(DIALOGUES["target that is not ASCII"])
    assert ("/images/b%C3%BCcher/json", 200) == (only(conversation).target, only(conversation).status)


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_a_body_of_any_bytes_is_counted_as_it_is(size: int) -> None:
    body = bytes(range(256)) * 4
    head = b"PUT /archive HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(body)
    conversation, _ = heard([(CLIENT, head), (CLIENT, body), (SERVER, OK), (CLIENT, GET), (SERVER, OK)], size)
    assert [1024, 0] == [exchange.request_body_bytes for exchange in conversation.exchanges()]
    assert [True, True] == [exchange.complete for exchange in conversation.exchanges()]


def test_upgrade_passes_both_directions_on_with_their_ends() -> None:
    conversation, found = listen(pieces(DIALOGUES["upgrade"], 1 << 20))
    assert [(SERVER, len(UPGRADED) + 10), (CLIENT, len(ATTACH) + 9), (SERVER, len(UPGRADED) + 14)] == [
        (piece.direction, piece.stream_end) for piece in found
    ]
    exchange = only(conversation)
    assert (101, "upgrade", False, None) == (exchange.status, exchange.hijack, exchange.complete, exchange.end)
    assert (9, 14) == (exchange.request_body_bytes, exchange.response_body_bytes)
    conversation.finish(at(9))
    assert (True, at(9)) == (only(conversation).complete, only(conversation).end)


def test_hijacked_bytes_are_passed_on_uncopied() -> None:
    conversation, _ = heard([(CLIENT, ATTACH), (SERVER, UPGRADED)])
    data = bytes(20_000)
    (piece,) = conversation.feed(SERVER, data, at(3), 1)
    assert piece.data is data


def test_stream_without_a_close_in_view_stays_incomplete() -> None:
    conversation, _ = heard(DIALOGUES["upgrade"])
    conversation.finish(at(9), closed=False)
    assert (False, None) == (only(conversation).complete, only(conversation).end)


@pytest.mark.parametrize("name", ["body until the close", "error after the hijack"])
def test_body_without_a_length_ends_with_the_connection(name: str) -> None:
    conversation, _ = heard(DIALOGUES[name])
    assert not only(conversation).complete
    conversation.finish(at(9))
    assert (True, at(9), None) == (only(conversation).complete, only(conversation).end, only(conversation).hijack)


def test_body_cut_short_by_the_close_is_incomplete() -> None:
    conversation, _ = heard([(CLIENT, GET), (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")])
    conversation.finish(at(3))
    assert (200, 4, False, None) == (
        only(conversation).status, only(conversation).response_body_bytes, only(conversation).complete, only(conversation).end,
    )  # fmt: skip


def test_stdin_behind_a_refused_attach_is_not_taken_for_requests() -> None:
    conversation, _ = heard([(CLIENT, ATTACH + b"GET me the file\n"), *DIALOGUES["error after the hijack"][1:], (CLIENT, b"rm it\n")])
    assert (1, 404, 25) == (conversation.exchange_count, only(conversation).status, only(conversation).response_body_bytes)


def test_credentials_never_reach_the_exchange() -> None:
    secret = b"c2VjcmV0"
    fields = b"".join(
        name + b": " + secret + b"\r\n" for name in (b"Authorization", b"X-Registry-Auth", b"COOKIE", b"Job-Token", b"x-my-secret")
    )
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: " + secret + b"\r\nServer: Docker\r\nContent-Length: 0\r\n\r\n"
    conversation, _ = heard([(CLIENT, b"POST /push HTTP/1.1\r\nHost: d\r\n" + fields + b"\r\n"), (SERVER, answer)])
    exchange = only(conversation)
    assert "c2VjcmV0" not in str((exchange.request_headers, exchange.response_headers))
    assert ("x-registry-auth", "[redacted]") in exchange.request_headers
    assert (("set-cookie", "[redacted]"), ("server", "Docker"), ("content-length", "0")) == exchange.response_headers


def test_long_targets_and_many_headers_are_cut() -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 3000) for number in range(200))
    conversation, _ = heard([(CLIENT, b"GET /" + b"t" * 9000 + b" HTTP/1.1\r\nHost: d\r\n" + fields + b"\r\n"), (SERVER, OK)])
    exchange = only(conversation)
    assert exchange.target.endswith("t[...]")
    assert (2048 + 5, 64) == (len(exchange.target), len(exchange.request_headers))
    assert max(len(value) for _, value in exchange.request_headers) == 1024 + 5


@pytest.mark.parametrize(
    "dialogue",
    [
        [(CLIENT, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")],
        [(CLIENT, b"stdin of something\n"), (SERVER, b"and its output\n")],
        [(SERVER, b"\x01\0\0\0\0\0\0\2hi"), (CLIENT, b"42\n")],
        [(SERVER, b"output without a beginning")],
        [(CLIENT, b"a" * 50_000)],
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_something_else_than_http(dialogue: Dialogue, size: int) -> None:
    conversation, streams = heard(dialogue, size)
    assert (True, (), {}) == (conversation.not_http, conversation.exchanges(), streams)


def test_a_connection_joined_between_two_requests_is_followed_from_the_next() -> None:
    conversation, _ = heard([(SERVER, b'{"StatusCode":0}\n\r\n0\r\n\r\n'), (CLIENT, GET), (SERVER, OK)])
    assert (False, 200, True) == (conversation.not_http, only(conversation).status, only(conversation).complete)


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_http2_is_recognised_and_left(size: int) -> None:
    conversation, streams = heard([(CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), (SERVER, b"\0\0\0\4\0\0\0\0\0")], size)
    assert (True, False, False, {}) == (conversation.http2, conversation.not_http, conversation.wants_more, streams)
    upgraded, streams = heard(DIALOGUES["h2c"], size)
    assert (True, "upgrade") == (upgraded.http2, only(upgraded).hijack)
    assert streams[0, CLIENT, "hijacked"] == b"\0\0\0\4\0\0\0\0\0"


def test_a_hole_in_the_response_keeps_what_was_known() -> None:
    conversation, _ = heard([(CLIENT, GET), (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")])
    conversation.lose(SERVER)
    assert [] == conversation.feed(SERVER, b"other", at(3), 99)
    conversation.feed(CLIENT, GET, at(4), 99)
    conversation.finish(at(5))
    first, second = conversation.exchanges()
    assert (200, 4, False, False) == (first.status, first.response_body_bytes, first.complete, first.response_followed)
    assert (None, None, False, False) == (second.status, second.response, second.complete, second.response_followed)


def test_a_hole_in_the_requests_leaves_the_response_readable() -> None:
    conversation, _ = heard([(CLIENT, b"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 99\r\n\r\ntar")])
    conversation.lose(CLIENT)
    conversation.feed(CLIENT, GET, at(2), 999)
    conversation.feed(SERVER, OK + OK, at(3), len(OK))
    conversation.finish(at(4))
    build, info = conversation.exchanges()
    assert (200, True, True, True) == (build.status, build.complete, build.response_followed, build.request_hole)
    # What follows the hole looks like a request and need not be one, and what the second response answers is not known.
    assert (None, False, True) == (info.status, info.response_followed, info.uncertain)
    assert 1 == conversation.losses().unpaired_count


@pytest.mark.parametrize("direction", [CLIENT, SERVER])
def test_a_stream_goes_on_behind_a_hole_and_is_not_complete(direction: int) -> None:
    conversation, _ = heard(DIALOGUES["upgrade"])
    conversation.lose(CLIENT if direction == CLIENT else SERVER)
    for side in (CLIENT, SERVER):
        (piece,) = conversation.feed(side, b"behind", at(7), 1)
        assert (0, side, b"behind") == (piece.exchange, piece.direction, piece.data)
    conversation.finish(at(9))
    known = only(conversation)
    assert (direction == CLIENT, direction == CLIENT) == (known.complete, known.response_followed)


def test_a_hole_before_the_answer_leaves_stdin_without_a_meaning() -> None:
    conversation, _ = heard([(CLIENT, ATTACH + b"stdin")])
    conversation.lose(SERVER)
    assert [] == conversation.feed(SERVER, b"output", at(3), 1)
    assert (False, []) == (conversation.wants_more, conversation.feed(CLIENT, GET, at(4), 1))
    assert conversation.exchange_count == 1


def test_bytes_that_do_not_parse_end_the_reading_with_a_reason() -> None:
    conversation, _ = heard([(CLIENT, GET), (SERVER, OK), (CLIENT, b"GET / HTTP/1.1\r\nHost d\r\n\r\n"), (SERVER, OK)])
    assert 1 == conversation.exchange_count
    assert (conversation.refusal or "").startswith("client: ")
    conversation, _ = heard([(CLIENT, GET), (SERVER, b"HTTP/1.1 what\r\n\r\n"), (CLIENT, GET)])
    assert (conversation.refusal or "").startswith("server: ")
    assert [(None, False)] * 2 == [(exchange.status, exchange.response_followed) for exchange in conversation.exchanges()]


def test_an_answer_captured_before_the_end_of_its_question_is_understood() -> None:
    for split in range(1, len(GET)):
        conversation, _ = listen([(1, CLIENT, GET[:split]), (2, SERVER, OK), (3, CLIENT, GET[split:])])
        assert (200, True, at(2)) == (only(conversation).status, only(conversation).complete, only(conversation).end)


def test_a_night_of_polling_keeps_its_first_and_last_exchanges() -> None:
    conversation = HttpConversation(attaches)
    for number in range(2000):
        conversation.feed(CLIENT, GET.replace(b"info", b"%d" % number), at(number), 1)
        conversation.feed(SERVER, OK, at(number), 1)
    assert (2000, KEPT_FIRST + KEPT_LAST) == (conversation.exchange_count, len(conversation.exchanges()))
    assert [*range(KEPT_FIRST), *range(2000 - KEPT_LAST, 2000)] == list(conversation.exchange_numbers())
    for number, exchange in zip(conversation.exchange_numbers(), conversation.exchanges(), strict=True):
        assert (f"/{number}", exchange) == (exchange.target, conversation.exchange(number))
    assert conversation.exchange(1000) is None


def test_questions_without_answers_do_not_pile_up() -> None:
    conversation = HttpConversation(attaches)
    for number in range(3000):
        conversation.feed(CLIENT, GET, at(number), 1)
    assert (3000, False) == (conversation.exchange_count, conversation.exchanges()[0].response_followed)


def test_stdin_kept_for_an_answer_is_bounded() -> None:
    conversation, _ = heard([(CLIENT, ATTACH)])
    for _ in range(MAX_HELD_BYTES // 1000 + 2):
        conversation.feed(CLIENT, bytes(1000), at(2), 1)
    found = conversation.feed(SERVER, UPGRADED + b"out", at(3), 1)
    assert {(0, SERVER, "hijacked"): b"out"} == together(found)


@pytest.mark.parametrize("start", [GET[:-2], b"GET / HTTP/1.1\r\nX: "], ids=["fields", "one field"])
def test_an_endless_head_is_given_up(start: bytes) -> None:
    conversation, _ = heard([(CLIENT, start)])
    for _ in range(40):
        conversation.feed(CLIENT, (b"X: y\r\n" if start == GET[:-2] else b"abcdef") * 8000, at(2), 1)
    assert "too long" in (conversation.refusal or "")
    assert (0, True) == (conversation.exchange_count, conversation.not_http)
