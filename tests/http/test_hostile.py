"""A thousand broken dialogues (fewer in the fast suite): nothing is raised, nothing is invented, and no input takes more than its share of time."""

import random
import time

import pytest
from hypothesis import settings

from captool.http.conversation import HttpConversation
from tests.http.dialogue import CLIENT, SERVER, Dialogue, at, attaches, heard
from tests.http.test_conversation import DIALOGUES, GET, OK


def broken(dialogue: Dialogue, dice: random.Random) -> Dialogue:
    steps = []
    for direction, data in dialogue:
        changed = bytearray(data)
        for _ in range(dice.choice((0, 1, 1, 2, 8))):
            place = dice.randrange(len(changed) + 1)
            match dice.randrange(5):
                case 0:
                    changed[place:place] = dice.randbytes(dice.randrange(1, 9))
                case 1:
                    del changed[place : place + dice.randrange(1, 9)]
                case 2:
                    changed[place:place] = dice.choice(
                        (b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"\n", b"99999999999999999999", b"fffffffffffffffff")
                    )
                case 3 if place < len(changed):
                    changed[place] ^= 1 << dice.randrange(8)
                case _:
                    changed[place:place] = data[: dice.randrange(len(data))]
        steps.append((direction, bytes(changed)))
    if dice.random() < 0.2:
        dice.shuffle(steps)
    return steps


@pytest.mark.parametrize("name", DIALOGUES)
def test_no_mutation_raises_or_says_more_than_it_heard(name: str) -> None:
    dice = random.Random(name)
    for _ in range(settings.default.max_examples):
        dialogue = broken(DIALOGUES[name], dice)
        conversation, streams = heard(dialogue, dice.choice((1, 3, 50, 1 << 20)))
        if dice.random() < 0.3:
            conversation.lose(dice.choice((CLIENT, SERVER)))
            for direction, data in dialogue:
                conversation.feed(direction, data, at(9), 9)
        conversation.finish(at(10))
        for direction in (CLIENT, SERVER):
            said = sum(len(data) for towards, data in dialogue if towards is direction)
            assert said >= sum(len(data) for (_, towards, _), data in streams.items() if towards is direction)
        for exchange in conversation.exchanges():
            assert not (exchange.complete and exchange.end is None)


def seconds(data: bytes, size: int) -> float:
    conversation = HttpConversation(attaches)
    conversation.feed(CLIENT, GET, at(1), 1)
    start = time.perf_counter()
    for place in range(0, len(data), size):
        conversation.feed(SERVER, data[place : place + size], at(2), 2)
    return time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("unit", [b"X: y\r\n", b"y"], ids=["fields", "one field"])
def test_a_head_that_comes_byte_by_byte_takes_time_in_proportion(unit: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nX: "
    short = min(seconds(head + unit * (5_000 // len(unit)), 1) for _ in range(3))
    long = min(seconds(head + unit * (40_000 // len(unit)), 1) for _ in range(3))
    assert long < 8 * short * 3


@pytest.mark.slow
def test_a_thousand_small_messages_in_one_piece_take_time_in_proportion() -> None:
    def spent(count: int) -> float:
        conversation = HttpConversation(attaches)
        start = time.perf_counter()
        for _ in range(count // 500):
            conversation.feed(CLIENT, GET * 500, at(1), 1)
            conversation.feed(SERVER, OK * 500, at(2), 2)
        assert count == conversation.exchange_count
        return time.perf_counter() - start

    assert spent(4000) < 8 * min(spent(1000) for _ in range(3)) * 2
