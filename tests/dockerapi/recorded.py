"""Conversations with a real daemon (tests/dockerapi/data), told to a DockerConversation in pieces of any size."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from captool.direction import Direction, Moment
from captool.dockerapi.conversation import DockerConversation, OutputSink
from captool.dockerapi.exchange import DockerExchange

DATA = Path(__file__).parent / "data"
NAMES = sorted(path.stem for path in DATA.glob("*.jsonl"))


class Said(NamedTuple):
    direction: Direction
    data: bytes
    moment: Moment


def recording(name: str) -> list[Said]:
    rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
    return [
        Said(Direction[row["direction"].upper()], row["data"].encode("latin-1"), Moment(number, row["ms"] * 1_000_000))
        for number, row in enumerate(rows, 1)
    ]


def tell(said: list[Said], size: int = 1 << 20, output: OutputSink | None = None, arrived: int | None = None) -> tuple[DockerExchange, ...]:
    """What is understood; the client acknowledges everything at once, or its direction up to `arrived`."""
    conversation = DockerConversation(output)
    ends = [0, 0]
    for direction, data, moment in cut(said, size):
        ends[direction] += len(data)
        reached = ends[1] if arrived is None else min(arrived, ends[1])
        conversation.feed(direction, data, moment, ends[direction], reached)
    reached = ends[1] if arrived is None else min(arrived, ends[1])
    return conversation.finish(said[-1].moment, reached, closed=True)


def cut(said: list[Said], size: int) -> Iterator[Said]:
    for direction, data, moment in said:
        for start in range(0, len(data), size):
            yield Said(direction, data[start : start + size], moment)
