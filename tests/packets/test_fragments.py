"""Fragments of every size, order and overlap, against a naive twin; and what hostile ones cost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from captool.packets.fragments import MAX_DATAGRAM, MAX_HOLES, Datagram, Fragments
from tests.builders import ethernet, ip


def naive(parts):
    """Byte by byte: who says a place first is believed; the first fragment that is called the last says where the end is."""
    said, length = {}, None
    for place, part, last in parts:
        for at, byte in enumerate(part, place):
            said.setdefault(at, byte)
        if last and length is None:
            length = place + len(part)
        if length is not None and all(at in said for at in range(length)):
            return bytes(said[at] for at in range(length))
    return None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6).map(lambda place: 8 * place), st.binary(min_size=1, max_size=24), st.booleans()), max_size=12))
def test_any_fragments_make_what_their_naive_twin_makes(parts):
    datagram = Datagram()
    whole = None
    for place, part, last in parts:
        whole = datagram.add(place, part, last=last)
        if whole is not None:
            break
    assert naive(parts) == whole


def feed(fragments):
    """(place, payload, more) of one datagram through `Fragments`."""
    frames = []
    for place, payload, more in fragments:
        packet = bytearray(ip(payload, identification=7))
        packet[6:8] = ((0x2000 if more else 0) | place // 8).to_bytes(2)
        frames.append(ethernet(bytes(packet)))
    kept = Fragments()

    class Chunk:
        buffer = bytearray(b"".join(frames))
        spare = len(buffer)

    kept.begin_chunk(Chunk())
    at = 0
    for frame in frames:
        kept.add_ipv4(at + 14, at + len(frame))
        at += len(frame)
    return kept


def test_overlapping_fragments_cost_no_more_than_a_datagram():
    kept = feed([(8 * number, bytes(1480), True) for number in range(1, 8000)])
    (datagram,) = kept._datagrams.values()
    assert len(datagram.payload) <= MAX_DATAGRAM
    assert 1 == len([hole for hole in datagram.holes if hole[1] < MAX_DATAGRAM])
    assert 7999 == datagram.parts


def test_a_datagram_with_too_many_holes_is_given_up_and_its_fragments_are_lost():
    kept = feed([(16 * number + 8, b"x" * 8, True) for number in range(MAX_HOLES - 1)])
    assert 0 == kept.lost
    assert 1 == len(kept._datagrams)
    kept = feed([(16 * number + 8, b"x" * 8, True) for number in range(MAX_HOLES)])
    assert MAX_HOLES == kept.lost
    assert {} == kept._datagrams
    assert f"{MAX_HOLES} of {MAX_HOLES} IP fragments" in kept.notes()[0]
