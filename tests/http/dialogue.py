"""Dialogues for tests of HTTP: who says what, fed to a conversation in pieces of any size."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from captool.direction import Direction, Moment
from captool.http.conversation import HttpConversation
from captool.http.pieces import StreamData

CLIENT, SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
Dialogue = list[tuple[Direction, bytes]]


def attaches(method: str, target: str) -> bool:
    return method == "POST" and target.startswith("/attach")


def at(step: int) -> Moment:
    return Moment(step, step * 1_000_000_000)


def pieces(dialogue: Dialogue, size: int) -> Iterator[tuple[int, Direction, bytes]]:
    """The dialogue in pieces of at most `size` bytes, each with the number (from 1) of what it is a piece of."""
    for step, (direction, data) in enumerate(dialogue, 1):
        for start in range(0, len(data), size):
            yield step, direction, data[start : start + size]


def listen(parts: Iterable[tuple[int, Direction, bytes]]) -> tuple[HttpConversation, list[StreamData]]:
    conversation = HttpConversation(attaches)
    ends = [0, 0]
    found = []
    for step, direction, data in parts:
        ends[direction] += len(data)
        found += conversation.feed(direction, data, at(step), ends[direction])
    return conversation, found


def heard(dialogue: Dialogue, size: int = 1 << 20) -> tuple[HttpConversation, dict[tuple[int, Direction, str], bytes]]:
    """The conversation, and the stream and body bytes for (exchange, direction, kind)."""
    conversation, found = listen(pieces(dialogue, size))
    return conversation, together(found)


def together(found: list[StreamData]) -> dict[tuple[int, Direction, str], bytes]:
    streams: dict[tuple[int, Direction, str], bytes] = defaultdict(bytes)
    for piece in found:
        streams[piece.exchange, piece.direction, piece.kind] += piece.data
    return dict(streams)
