"""Container output on connections that no daemon of ours would make: proxies, many logs, streams that break off."""

import pytest

from captool.direction import Direction, Moment
from captool.dockerapi.conversation import MAX_STREAMS, DockerConversation
from captool.dockerapi.exchange import ContainerStream, DockerExchange

CLIENT, SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
ATTACH = b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def at(packet: int) -> Moment:
    return Moment(packet, packet * 1000)


def frame(kind: int, data: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + len(data).to_bytes(4) + data


def attached(*output: bytes, answer: bytes = UPGRADED, arrived: int = 1 << 40, closed: bool = True) -> DockerExchange:
    conversation = DockerConversation()
    conversation.feed(CLIENT, ATTACH, at(1), len(ATTACH), 0)
    end = 0
    for packet, data in enumerate((answer, *output), 2):
        end += len(data)
        conversation.feed(SERVER, data, at(packet), end, min(arrived, end))
    (exchange,) = conversation.finish(at(99), min(arrived, end), closed=closed)
    return exchange


def test_container_that_printed_nothing_has_an_empty_stream() -> None:
    assert ContainerStream("empty", 0, 0, 0, None, None) == attached().stream


def test_proxy_that_answers_attach_with_chunks_is_still_understood() -> None:
    data = frame(1, b"out") + frame(2, b"err")
    exchange = attached(b"%x\r\n" % len(data) + data + b"\r\n", answer=CHUNKED)
    assert exchange.stream is not None
    assert (None, 200, "multiplexed", 3, 3) == (
        exchange.http.hijack, exchange.http.status, exchange.stream.kind, exchange.stream.stdout_bytes, exchange.stream.stderr_bytes,
    )  # fmt: skip


def test_connection_dropped_silently_lost_what_was_never_acknowledged() -> None:
    first = frame(1, b"seen\n")
    exchange = attached(first, frame(1, b"never\n"), frame(2, b"seen \x1b]0;evil\x07"), arrived=len(UPGRADED + first), closed=False)
    assert exchange.stream is not None
    assert exchange.stream.lost is not None
    assert (6, 14, at(4), b"never\nseen \x1b]0;evil\x07") == (
        exchange.stream.lost.stdout_bytes, exchange.stream.lost.stderr_bytes, exchange.stream.lost.first, exchange.stream.lost.text,
    )  # fmt: skip
    assert (at(3), 5 + 6, None, False) == (
        exchange.stream.last_output, exchange.stream.stdout_bytes, exchange.http.end, exchange.http.complete,
    )  # fmt: skip


@pytest.mark.parametrize("status", [b"404 Not Found", b"409 Conflict", b"500 Internal Server Error"])
def test_an_error_is_not_container_output(status: bytes) -> None:
    exchange = attached(b"No such container: ab12\r\n", answer=b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert (None, int(status[:3]), True) == (exchange.stream, exchange.http.status, exchange.http.complete)


def test_first_and_last_of_very_many_logs_keep_their_output() -> None:
    conversation = DockerConversation()
    count = MAX_STREAMS + 500
    for number in range(count):
        body = frame(1, b"x" * (number % 100))
        conversation.feed(CLIENT, b"GET /containers/c%d/logs HTTP/1.1\r\nHost: d\r\n\r\n" % number, at(number), 1, 1)
        conversation.feed(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, at(number), 1, 1)
    exchanges = conversation.finish(at(count), 1, closed=True)
    assert (count, 512) == (conversation.exchange_count, len(exchanges))
    assert len(conversation._streams) <= MAX_STREAMS
    for exchange in exchanges:
        assert exchange.container is not None
        assert exchange.stream is not None
        assert exchange.stream.stdout_bytes == int(exchange.container[1:]) % 100


def test_output_goes_to_the_sink_raw_and_in_order() -> None:
    printed: list[tuple[str, bytes, int]] = []
    conversation = DockerConversation(lambda output: printed.append((output.stream, output.data, output.moment.packet)))
    conversation.feed(CLIENT, ATTACH + b"in\n", at(1), 1, 0)
    conversation.feed(SERVER, UPGRADED + frame(2, b"\x1b[31m")[:10], at(2), 1, 0)
    conversation.feed(SERVER, frame(2, b"\x1b[31m")[10:] + frame(1, b"out"), at(3), 2, 0)
    assert [("stdin", b"in\n", 1), ("stderr", b"\x1b[", 2), ("stderr", b"31m", 3), ("stdout", b"out", 3)] == printed
