"""HTTP found again behind bytes that the capture lacks: what is told is true, what cannot be known is called so."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.direction import Direction
from captool.http.conversation import HttpConversation
from captool.http.exchange import HttpExchange
from tests.http.dialogue import CLIENT, SERVER, at, attaches


class Segment(NamedTuple):
    """Bytes that one side sends at once, as the packet with this number; `exchange` is whose they are."""

    packet: int
    direction: Direction
    data: bytes
    exchange: int


def get(name: str) -> bytes:
    return b"GET /%s HTTP/1.1\r\nHost: d\r\n\r\n" % name.encode()


def ok(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def in_turns(*said: tuple[Direction, bytes]) -> list[Segment]:
    """The segments in order; each that begins with a request line begins an exchange."""
    segments, exchange = [], -1
    for packet, (direction, data) in enumerate(said, 1):
        exchange += direction is CLIENT and b" HTTP/1.1\r\n" in data
        segments.append(Segment(packet, direction, data, exchange))
    return segments


def heard(segments: list[Segment], lost: set[int], *, sizes: bool = True, late: int = 0) -> HttpConversation:
    """The conversation without the packets in `lost`.

    `sizes`: it is known how many bytes are missing. What follows a hole is heard `late` packets later, as reassembly waits for what is missing.
    """
    conversation = HttpConversation(attaches)
    missing, ends = [0, 0], [0, 0]
    waiting: list[list[tuple[Segment, int]]] = [[], []]
    due = [0, 0]

    def say(direction: Direction) -> None:
        """What waits, to the next hole."""
        first = True
        while waiting[direction] and (first or not waiting[direction][0][1]):
            segment, hole = waiting[direction].pop(0)
            if hole:
                conversation.lose(direction, hole if sizes else None)
            ends[direction] += hole + len(segment.data)
            conversation.feed(direction, segment.data, at(segment.packet), ends[direction])
            first = False

    for segment in segments:
        direction = segment.direction
        if segment.packet in lost:
            missing[direction] += len(segment.data)
            continue
        for one in (CLIENT, SERVER):
            while waiting[one] and due[one] <= segment.packet:
                say(one)
                due[one] = segment.packet + late
        if missing[direction] and not waiting[direction]:
            due[direction] = segment.packet + late
        waiting[direction].append((segment, missing[direction]))
        missing[direction] = 0
        if len(waiting[direction]) == 1 and (not waiting[direction][0][1] or not late):
            say(direction)
    for direction in (CLIENT, SERVER):
        while waiting[direction]:
            say(direction)
        if missing[direction]:
            conversation.lose(direction)
    conversation.finish(at(len(segments) + 1))
    return conversation


def told(conversation: HttpConversation) -> list[tuple[str, int | None, bool]]:
    return [(one.target, one.status, one.uncertain) for one in conversation.exchanges()]


def serial(*names: str) -> list[Segment]:
    """Questions one after the other, each answered in a segment with its own status; the first ones show that the client asks so."""
    said = []
    for number, name in enumerate(names):
        said += [(CLIENT, get(name)), (SERVER, ok(name.encode(), 200 + number))]
    return in_turns(*said)


def test_a_hole_inside_a_body_of_known_length_is_crossed_by_counting() -> None:
    body = ok(b"x" * 30)
    talk = in_turns((CLIENT, get("a")), (SERVER, body[:-30]), (SERVER, b"x" * 10), (SERVER, b"x" * 10), (SERVER, b"x" * 10), (CLIENT, get("b")), (SERVER, ok(b"b", 201)))
    conversation = heard(talk, {3, 4})
    assert [("/a", 200, False), ("/b", 201, False)] == told(conversation)
    first = conversation.exchanges()[0]
    assert (False, True, at(5), 10) == (first.complete, first.response_hole, first.end, first.response_body_bytes)
    losses = conversation.losses()
    assert losses is not None
    assert [("length", 20, 5, 5)] == [(loss.found, loss.missing, loss.behind.packet, loss.resumed.packet) for loss in losses.losses]


@pytest.mark.parametrize("fake", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"0\r\n\r\n", LAST + ok(b"")])
def test_text_in_a_body_is_no_message(fake: bytes) -> None:
    body = ok(b"x" * 20 + fake * 3 + b"y" * 20)
    pieces = [body[:-20 - 3 * len(fake)], fake, fake, fake, body[-20:]]
    talk = in_turns((CLIENT, get("1")), (SERVER, ok(b"")), (CLIENT, get("a")), *[(SERVER, piece) for piece in pieces], (CLIENT, get("b")), (SERVER, ok(b"b", 201)))
    for lost in ({4}, {5}, {4, 5}, {5, 6}, {8}, {4, 8}):
        for sizes in (True, False):
            conversation = heard(talk, lost, sizes=sizes)
            assert ["/1", "/a", "/b"] == [one.target for one in conversation.exchanges()]
            assert conversation.exchanges()[1].status in ({None} if 4 in lost else {200})
            assert conversation.exchanges()[2].status == 201, (lost, sizes)
            assert not conversation.exchanges()[1].complete


def test_a_followed_log_goes_on_with_the_next_whole_chunk() -> None:
    lines = [(SERVER, chunk(b"line %d\n" % number)) for number in range(6)]
    talk = in_turns((CLIENT, get("logs")), (SERVER, CHUNKED), *lines, (SERVER, LAST), (CLIENT, get("b")), (SERVER, ok(b"b", 201)))
    conversation = heard(talk, {5, 6}, sizes=False)
    logs, after = conversation.exchanges()
    assert (200, False, True, 28, at(9)) == (logs.status, logs.complete, logs.response_hole, logs.response_body_bytes, logs.end)
    assert (201, True, False) == (after.status, after.complete, after.uncertain)
    assert ["chunks"] == [loss.found for loss in conversation.losses().losses]


def test_a_response_that_is_lost_is_not_given_to_the_next_request() -> None:
    conversation = heard(serial("a", "b", "c", "d"), {6})
    assert [("/a", 200, False), ("/b", 201, False), ("/c", None, False), ("/d", 203, True)] == told(conversation)
    lost = conversation.exchanges()[2]
    assert (False, True, False) == (lost.response_followed, lost.response_hole, lost.complete)


def test_how_many_responses_a_hole_holds_is_not_known() -> None:
    """The client may have sent the three without waiting, and the one that is there may be the answer to any but the first."""
    conversation = heard(serial("a", "b", "c", "d", "e", "f"), {6, 8})
    assert [("/c", None, False), ("/d", None, False), ("/e", None, False), ("/f", 205, False)] == told(conversation)[2:]
    losses = conversation.losses()
    assert (1, [(204, 10)]) == (losses.unpaired_count, [(one.status, one.response.packet) for one in losses.unpaired])


def test_answers_to_requests_that_are_lost_are_counted() -> None:
    conversation = heard(serial("a", "b", "c", "d", "e"), {5, 7})
    assert [("/a", 200, False), ("/b", 201, False), ("/e", 204, True)] == told(conversation)
    assert [202, 203] == [one.status for one in conversation.losses().unpaired]


def test_an_exchange_that_is_lost_altogether_leaves_the_next_one() -> None:
    conversation = heard(serial("a", "b", "c", "d", "e"), {5, 6})
    assert [("/a", 200, False), ("/b", 201, False), ("/d", 203, True), ("/e", 204, False)] == told(conversation)


def test_a_request_between_two_lost_answers_is_told_without_one() -> None:
    conversation = heard(serial("a", "b", "c", "d", "e"), {4, 5})
    assert [("/a", 200), ("/b", None), ("/d", 203), ("/e", 204)] == [one[:2] for one in told(conversation)]


def test_what_looks_like_a_request_and_is_not_answered_is_marked() -> None:
    conversation = heard(serial("a", "b", "c"), {3, 4, 6})
    assert [("/a", 200, False), ("/c", None, True)] == told(conversation)
    assert not conversation.exchanges()[1].response_followed


def test_a_client_that_does_not_wait_is_not_guessed_at() -> None:
    talk = in_turns((CLIENT, get("a")), (CLIENT, get("b")), (SERVER, ok(b"a")), (SERVER, ok(b"b", 201)), (CLIENT, get("c")), (CLIENT, get("d")), (SERVER, ok(b"c", 202)), (SERVER, ok(b"d", 203)))
    conversation = heard(talk, {7})
    assert [("/a", 200, False), ("/b", 201, False), ("/c", None, False), ("/d", None, False)] == told(conversation)
    assert [None] == [loss.resumed for loss in conversation.losses().losses]
    assert not any(one.response_followed for one in conversation.exchanges()[2:])


def test_text_of_an_upload_is_no_request() -> None:
    """Behind the hole the rest of the upload looks like requests; its answer shows that they were none."""
    body = b"x" * 100 + get("fake") * 2
    upload = b"PUT /tar HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
    fakes = [(CLIENT, get("fake")), (CLIENT, get("fake")), (CLIENT, b"\r\n" + LAST)]
    talk = in_turns(
        (CLIENT, get("a")), (SERVER, ok(b"a")), (CLIENT, upload), (CLIENT, chunk(body)[: 100 - len(body)]), *fakes,
        (SERVER, ok(b"tar", 201)), (CLIENT, get("b")), (SERVER, ok(b"b", 202)),
    )  # fmt: skip
    conversation = heard(talk, {4})
    certain = [one[:2] for one in told(conversation) if not one[2]]
    assert [("/a", 200), ("/tar", 201)] == certain[:2]
    assert ("/b", 202) in [one[:2] for one in told(conversation)]
    assert all(uncertain and status is None for target, status, uncertain in told(conversation) if target == "/fake")


def test_a_rest_of_an_upload_before_the_next_turn_makes_it_certain() -> None:
    upload = b"PUT /tar HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk = in_turns(
        (CLIENT, get("a")), (SERVER, ok(b"a")), (CLIENT, get("b")), (SERVER, ok(b"b", 201)), (CLIENT, upload), (CLIENT, chunk(b"lost")),
        (CLIENT, chunk(b"seen")), (CLIENT, LAST), (SERVER, ok(b"tar", 202)), (CLIENT, get("c")), (SERVER, ok(b"c", 203)),
    )  # fmt: skip
    assert [("/tar", 202, False), ("/c", 203, False)] == told(heard(talk, {6}))[2:]


def test_a_stream_is_found_behind_a_hole() -> None:
    attach = b"POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    start = serial("a", "b", "c")
    for lost in ({5}, {6}, {5, 6}, {4, 5}):
        talk = [*start, Segment(7, CLIENT, attach, 3), Segment(8, SERVER, upgraded, 3), Segment(9, SERVER, b"out", 3), Segment(10, CLIENT, b"in", 3)]
        exchange = heard(talk, lost).exchanges()[-1]
        assert ("/attach", 101, "upgrade", 2, 3) == (
            exchange.target, exchange.status, exchange.hijack, exchange.request_body_bytes, exchange.response_body_bytes,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\0", "ü", "a\x7f"])
def test_a_path_with_control_characters_is_told_and_read_on_behind(name: str) -> None:
    said = get(name)
    for split in range(1, len(said)):
        talk = in_turns((CLIENT, said[:split]), (CLIENT, said[split:]), (SERVER, ok(b"", 400)), (CLIENT, get("b")), (SERVER, ok(b"b", 201)))
        conversation = heard(talk, set())
        (first, second) = conversation.exchanges()
        assert (400, 201, None) == (first.status, second.status, conversation.losses())
        assert first.target.isascii()
        assert first.target.isprintable()


def test_a_header_that_is_none_is_told_without_its_value_and_reading_goes_on() -> None:
    bad = b"GET /bad HTTP/1.1\r\nHost: d\r\nAuthorization\x1b: Basic c2VjcmV0\r\n\r\n"
    talk = in_turns((CLIENT, get("a")), (SERVER, ok(b"a")), (CLIENT, bad), (SERVER, ok(b"", 400)), (CLIENT, get("b")), (SERVER, ok(b"b", 201)))
    conversation = heard(talk, set())
    assert [("/a", 200, False), ("/b", 201, True)] == told(conversation)
    losses = conversation.losses()
    assert ["illegal header line"] == [loss.refusal for loss in losses.losses]
    assert [400] == [one.status for one in losses.unpaired]
    only_bad = heard(in_turns((CLIENT, bad), (SERVER, ok(b"", 400))), set()).losses()
    assert ["illegal header line"] == [loss.refusal for loss in only_bad.losses]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [{3}, {4}, {5}, {6}, {5, 6}, {4, 5}, {3, 4}])
def test_every_way_to_cut_what_is_left_says_the_same(lost: set[int]) -> None:
    talk = [
        *serial("a", "b", "c"), *[one._replace(packet=one.packet + 6) for one in in_turns((CLIENT, get("logs")), (SERVER, CHUNKED), (SERVER, chunk(b"one")), (SERVER, LAST))],
        *[one._replace(packet=one.packet + 10) for one in serial("d", "e")],
    ]  # fmt: skip
    whole = heard(talk, lost).exchanges()
    for place, segment in enumerate(talk):
        if segment.packet in lost:
            continue
        for split in range(1, len(segment.data)):
            parts = [segment._replace(data=segment.data[:split]), segment._replace(data=segment.data[split:])]
            if segment.data[split:].startswith((b"0", b"\r")) and b"chunked" not in segment.data:
                continue
            assert whole == heard([*talk[:place], *parts, *talk[place + 1 :]], lost).exchanges(), (segment, split)


# A client that asks one thing at a time, some packets of it, and what must be true of what is told.

FAKES = (b"HTTP/1.1 299 Fake\r\nContent-Length: 0\r\n\r\n", get("fake"), LAST, b"5\r\nabcde\r\n")
BODIES = st.lists(st.one_of(st.sampled_from(FAKES), st.binary(min_size=1, max_size=12)), max_size=4)
FRAMING = st.sampled_from(["length", "chunked"])


def framed(framing: str, pieces: list[bytes]) -> list[bytes]:
    """A body as segments: its pieces begin segments, as chunks or as they are."""
    if framing == "chunked":
        return [b"Transfer-Encoding: chunked\r\n\r\n", *map(chunk, pieces), LAST]
    return [b"Content-Length: %d\r\n\r\n" % sum(map(len, pieces)), *pieces]


@st.composite
def talks(draw: st.DrawFn) -> list[Segment]:
    segments: list[Segment] = []

    def say(exchange: int, direction: Direction, pieces: list[bytes]) -> None:
        first = len(segments) + 1
        segments.extend(Segment(first + n, direction, data, exchange) for n, data in enumerate(pieces))

    for number in range(draw(st.integers(2, 7))):
        method = draw(st.sampled_from([b"GET", b"GET", b"PUT", b"HEAD"]))
        head = b"%s /%d HTTP/1.1\r\nHost: d\r\n" % (method, number)
        rest = framed(draw(FRAMING), draw(BODIES)) if method == b"PUT" else [b"\r\n"]
        say(number, CLIENT, [head + rest[0], *rest[1:]])
        status = b"HTTP/1.1 %d OK\r\n" % (400 + number)
        rest = framed(draw(FRAMING), draw(BODIES))
        say(number, SERVER, [status + rest[0], *([] if method == b"HEAD" else rest[1:])])
    return segments


def honest(exchange: HttpExchange, segments: list[Segment], lost: set[int]) -> None:
    """What is told of an exchange, against the slow truth: all of its segments, by its number."""
    number = int(exchange.target[1:])
    own = [one for one in segments if one.exchange == number]
    if exchange.status is not None:
        assert exchange.status == 400 + number
    gone = {one.direction for one in own if one.packet in lost}
    if exchange.complete:
        assert SERVER not in gone
    if not exchange.request_hole:
        assert CLIENT not in gone or exchange.status is None or exchange.uncertain


@pytest.mark.slow
@settings(max_examples=4 * settings.default.max_examples, deadline=None)
@given(talks(), st.data(), st.booleans(), st.integers(0, 4))
def test_nothing_untrue_is_told_whatever_is_lost(segments: list[Segment], data: st.DataObject, sizes: bool, late: int) -> None:
    lost = data.draw(st.sets(st.integers(1, len(segments)), max_size=5))
    conversation = heard(segments, lost, sizes=sizes, late=late)
    exchanges = conversation.exchanges()
    for exchange in exchanges:
        if not exchange.uncertain:
            assert exchange.target != "/fake"
            honest(exchange, segments, lost)
    numbers = [int(one.target[1:]) for one in exchanges if one.target != "/fake"]
    assert numbers == sorted(set(numbers)) or any(one.uncertain for one in exchanges)
    if not lost:
        assert [(True, 400 + one) for one in range(len(exchanges))] == [(one.complete, one.status) for one in exchanges]
        assert conversation.losses() is None


@pytest.mark.slow
@settings(max_examples=4 * settings.default.max_examples, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=8), st.data(), st.booleans())
def test_behind_two_whole_exchanges_everything_is_told_again(shapes: list[tuple[int, int]], data: st.DataObject, sizes: bool) -> None:
    """The slow twin: an exchange is told whole when nothing of it is missing, nor of the two before it."""
    segments: list[Segment] = []
    for number, (asks, says) in enumerate(shapes):
        request = [b"PUT /%d HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % (number, 9 * asks), *[b"upload---"] * asks]
        answer = [b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (400 + number, 9 * says), *[b"download-"] * says]
        for direction, pieces in ((CLIENT, request), (SERVER, answer)):
            first = len(segments) + 1
            segments += [Segment(first + n, direction, piece, number) for n, piece in enumerate(pieces)]
    lost = data.draw(st.sets(st.integers(1, len(segments)), max_size=6))
    hit = {one.exchange for one in segments if one.packet in lost}
    known = {one.target: one for one in heard(segments, lost, sizes=sizes).exchanges()}
    for number in range(len(shapes)):
        if not hit & {number - 2, number - 1, number}:
            exchange = known[f"/{number}"]
            assert (400 + number, True, False) == (exchange.status, exchange.complete, exchange.uncertain), number
