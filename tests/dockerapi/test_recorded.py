"""What a real docker CLI and a real dockerd said to each other, understood whole, byte by byte, cut anywhere and damaged."""

import random

import pytest

from captool.direction import Direction, Moment
from captool.dockerapi.conversation import DockerConversation
from captool.dockerapi.exchange import ContainerStream, DockerExchange, Output
from tests.dockerapi.recorded import NAMES, Said, recording, tell

Row = tuple[str | None, str | None, int | None, str | None]

UNDERSTOOD: dict[str, list[Row]] = {
    "run-wait": [
        ("SystemPingHead", None, 200, None),
        ("ContainerCreate", None, 201, None),
        ("ContainerWait", "49b70b25f641", 200, None),
    ],
    "run-attach": [("ContainerAttach", "49b70b25f641", 101, "upgrade")],
    "run-start": [("ContainerStart", "49b70b25f641", 204, None)],
    "stdin-attach": [("ContainerAttach", "65f168a27acf", 101, "upgrade")],
    "tty-attach": [("ContainerAttach", "019b6f676af7", 101, "upgrade")],
    "logs-follow": [
        ("SystemPingHead", None, 200, None),
        ("ContainerInspect", "sleeper", 200, None),
        ("ContainerLogs", "fe0a9406a768", 200, None),
    ],
    "exec-create": [
        ("SystemPingHead", None, 200, None),
        ("ContainerInspect", "sleeper", 200, None),
        ("ContainerExec", "sleeper", 201, None),
        ("ExecInspect", None, 200, None),
    ],
    "exec-start": [("ExecStart", None, 101, "upgrade")],
    "attach-without-upgrade": [("ContainerAttach", "old", 200, "raw")],
    "attach-no-such-container": [("ContainerAttach", "gone", 404, None)],
    "pipelined": [("SystemPingHead", None, 200, None), ("SystemPing", None, 200, None), ("ContainerInspect", "old", 200, None)],
    "expect-continue": [("ContainerCreate", None, 201, None)],
    "stdin-before-101": [("ContainerAttach", "early", 101, "upgrade")],
    "session-h2c": [("Session", None, 101, "upgrade")],
}

PRINTED: dict[str, dict[str, bytes]] = {
    "run-attach": {"stdout": b"first line\n\x1b[32mgreen\x1b[0m\n1\n2\n3\n4\n5\n", "stderr": b"to stderr\n"},
    "stdin-attach": {"stdin": b"echo from stdin\nexit 3\n", "stdout": b"from stdin\n"},
    "tty-attach": {"stdout": b"tty\r\n\x1b[1mbold\x1b[0m\r\n"},
    "logs-follow": {"stdout": b"tick 0\ntick 1\ntick 2\ntick 3\n"},
    "exec-start": {"stdout": b"in exec\n", "stderr": b"bad\n"},
    "attach-without-upgrade": {"stdin": b"a line\n", "stdout": b"got a line\n", "stderr": b"e\n"},
    "stdin-before-101": {"stdin": b"early line\n", "stdout": b"got\n"},
}


def rows(exchanges: tuple[DockerExchange, ...]) -> list[Row]:
    return [
        (exchange.endpoint, exchange.container and exchange.container[:12], exchange.http.status, exchange.http.hijack)
        for exchange in exchanges
    ]


def stream_of(exchanges: tuple[DockerExchange, ...]) -> ContainerStream:
    (stream,) = (exchange.stream for exchange in exchanges if exchange.stream)
    return stream


def test_every_recording_has_its_truth() -> None:
    assert set(NAMES) == set(UNDERSTOOD)


@pytest.mark.parametrize("name", NAMES)
def test_recording_is_understood_whole_and_byte_by_byte(name: str) -> None:
    said = recording(name)
    exchanges = tell(said)
    assert UNDERSTOOD[name] == rows(exchanges)
    assert all(exchange.http.complete and exchange.http.response_followed for exchange in exchanges)
    assert exchanges == tell(said, size=1) == tell(said, size=7)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recording_cut_anywhere_says_the_same(name: str) -> None:
    said = recording(name)
    whole = tell(said)
    for place, (direction, data, moment) in enumerate(said):
        for split in range(1, len(data), 1 + len(data) // 200):
            halves = [Said(direction, data[:split], moment), Said(direction, data[split:], moment)]
            assert whole == tell([*said[:place], *halves, *said[place + 1 :]]), (place, split)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_was_printed(name: str, size: int) -> None:
    printed: dict[str, bytes] = {}

    def output(piece: Output) -> None:
        printed[piece.stream] = printed.get(piece.stream, b"") + piece.data

    exchanges = tell(recording(name), size, output)
    assert PRINTED.get(name, {}) == printed
    if printed:
        stream = stream_of(exchanges)
        counts = stream.stdin_bytes, stream.stdout_bytes, stream.stderr_bytes
        assert tuple(len(printed.get(key, b"")) for key in ("stdin", "stdout", "stderr")) == counts
        assert stream.lost is None
        assert ("raw" if name == "tty-attach" else "multiplexed") == stream.kind


def test_output_is_lost_from_the_first_byte_that_was_not_acknowledged() -> None:
    said = recording("run-attach")
    answers = [piece for piece in said if piece.direction is Direction.TO_CLIENT]
    arrived = len(answers[0].data) + len(answers[1].data)
    stream = stream_of(tell(said, arrived=arrived))
    assert stream.last_output == answers[1].moment
    assert stream.lost is not None
    assert (36 - len(b"first line\n"), len(b"to stderr\n")) == (stream.lost.stdout_bytes, stream.lost.stderr_bytes)
    assert stream.lost.first == answers[2].moment
    assert {b"to stderr\n", b"\x1b[32mgreen\x1b[0m\n1\n2\n3\n4\n5\n"} == {stream.lost.text[:10], stream.lost.text[10:]}


def test_nothing_is_called_lost_where_acknowledgements_cannot_be_seen() -> None:
    conversation = DockerConversation()
    for direction, data, moment in recording("run-attach"):
        conversation.feed(direction, data, moment, 1, None)
    stream = stream_of(conversation.finish(Moment(99, 0), None, closed=True))
    assert (36, 10, None) == (stream.stdout_bytes, stream.stderr_bytes, stream.lost)


@pytest.mark.parametrize("name", NAMES)
def test_a_hole_anywhere_leaves_what_was_known(name: str) -> None:
    said = recording(name)
    for place in range(len(said)):
        conversation = DockerConversation()
        for step, (direction, data, moment) in enumerate(said):
            if step == place:
                conversation.lose(direction)
            else:
                conversation.feed(direction, data, moment, step, step)
        known = conversation.finish(Moment(99, 0), 99, closed=True)
        assert len(known) <= len(UNDERSTOOD[name])
        for row, exchange in zip(UNDERSTOOD[name], known, strict=False):
            assert row[:2] == rows((exchange,))[0][:2] or said[place].direction is Direction.TO_SERVER


@pytest.mark.slow
def test_a_thousand_mutations_raise_nothing_and_print_no_more_than_was_said() -> None:
    dice = random.Random(6)
    recordings = [recording(name) for name in NAMES]
    for _ in range(1000):
        damaged = []
        for direction, data, moment in dice.choice(recordings):
            changed = bytearray(data)
            for _ in range(dice.choice((0, 0, 1, 4))):
                place = dice.randrange(len(changed))
                changed[place : place + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
                changed = changed or bytearray(1)
            damaged.append(Said(direction, bytes(changed), moment))
        if dice.random() < 0.2:
            del damaged[dice.randrange(len(damaged))]
        counts = {Direction.TO_SERVER: 0, Direction.TO_CLIENT: 0}

        def output(piece: Output, counts: dict[Direction, int] = counts) -> None:
            counts[Direction.TO_SERVER if piece.stream == "stdin" else Direction.TO_CLIENT] += len(piece.data)

        if damaged:
            exchanges = tell(damaged, dice.choice((1, 5, 1 << 20)), output, dice.choice((None, 0, 100, 300)))
            for direction in Direction:
                assert counts[direction] <= sum(len(piece.data) for piece in damaged if piece.direction is direction)
            for exchange in exchanges:
                assert exchange.stream is None or exchange.stream.lost is None or len(exchange.stream.lost.text) <= 200
