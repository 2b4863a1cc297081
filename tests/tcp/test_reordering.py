"""Segments that come late: those that others overtook on the way, and those that were sent again."""

from pathlib import Path

import pytest

from tests.builders import CLIENT, SERVER, Packet, Talk, connection, ethernet, ip, tcp, tsval

MS = 1_000_000
SIZE = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def counts(path: Path, talk: Talk) -> tuple[int, int]:
    seen = connection(path, talk)
    return seen.retransmissions.to_client, seen.reordered.to_client


def arriving(talk: Talk, *segments: tuple[int, int], apart_ns: int = 20 * MS, zero: bool = False, tick: int | None = None) -> Talk:
    """Segments of the server, by their place in the stream and the order in which they were sent, as they arrive."""
    for place, order in segments:
        options = tsval(1000 + (order if tick is None else order // tick)) if zero else b""
        segment = tcp(SERVER, CLIENT, 5001 + SIZE * place, 1001, payload=bytes([place % 251]) * SIZE, options=options)
        talk.now += apart_ns
        talk.packets.append(Packet(ethernet(ip(segment, SERVER, CLIENT, 0 if zero else 65530 + order)), talk.now))
    return talk


def test_a_segment_that_its_identification_says_was_overtaken_is_not_sent_again(path: Path) -> None:
    assert (0, 1) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (3, 3), (1, 1)))
    assert (1, 0) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (3, 3), (1, 4)))


def test_many_of_them_in_one_hole_across_the_wrap_of_the_identification(path: Path) -> None:
    assert (0, 4) == counts(path, arriving(Talk().opened(), (0, 0), (9, 9), (4, 4), (2, 2), (3, 3), (5, 5)))
    assert (2, 2) == counts(path, arriving(Talk().opened(), (0, 0), (9, 9), (4, 4), (2, 12), (3, 3), (5, 13)))


def test_the_first_transmission_may_come_after_the_second(path: Path) -> None:
    assert (1, 1) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (1, 3), (1, 1)))
    assert (2, 0) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (1, 3), (1, 4)))


def test_without_identification_the_senders_clock_tells(path: Path) -> None:
    assert (0, 1) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (3, 3), (1, 1), zero=True))
    assert (1, 0) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (3, 3), (1, 4), zero=True))


def test_within_a_tick_of_it_the_time_tells(path: Path) -> None:
    assert (0, 1) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (1, 1), zero=True, tick=100, apart_ns=2 * MS))
    assert (1, 0) == counts(path, arriving(Talk().opened(), (0, 0), (2, 2), (1, 1), zero=True, tick=100, apart_ns=4 * MS))


def test_an_identification_that_is_far_from_the_others_says_nothing_of_the_order(path: Path) -> None:
    assert (1, 0) == counts(path, arriving(Talk().opened(), (0, 0), (2, 40_000), (1, 1)))


def test_where_the_sender_is_recorded_nothing_is_overtaken(path: Path) -> None:
    """Without a hole, data below what was sent is sent again, whatever it is called."""
    assert (1, 0) == counts(path, arriving(Talk().opened(), (0, 0), (1, 1), (2, 2), (1, 0)))


def test_a_stream_whose_order_changed_again_and_again_was_not_sent_again(path: Path) -> None:
    order = [(place, place) for place in range(400)]
    for at in range(0, 390, 7):
        order[at : at + 4] = reversed(order[at : at + 4])
    again, late = counts(path, arriving(Talk().opened(), *order))
    assert (0, 56 * 3) == (again, late)
