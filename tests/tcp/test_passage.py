"""Which packets crossed, judged from what two captures recorded; the truth is known because the path is simulated."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.tcp.byte_ranges import Crossing, Union
from captool.tcp.fates import Fate, Watch, fates, recognised
from captool.tcp.layout import ACK, FIN, RST, SYN
from captool.tcp.passage import passage

S = 1_000_000_000
MS = 1_000_000
ALWAYS = Watch(-(10**18), 10**18)


def packet(number=1, at=0, seq=1000, ack=1, flags=ACK, length=100, mark=-1, hop_limit=64, **changes):
    return Crossing(at, number, seq, ack, flags, length, mark, hop_limit, at)._replace(**changes)


def judged(sent, seen, acknowledged=(), sending=ALWAYS, receiving=ALWAYS):
    return fates(sent, seen, acknowledged, sending, receiving)


def summary(sent, seen, back=(), back_seen=(), receiving=ALWAYS):
    return passage(sent, seen, judged(sent, seen, receiving=receiving), back, back_seen, judged(back, back_seen))


@pytest.mark.slow
@settings(deadline=None, max_examples=3 * settings.default.max_examples)
@given(st.randoms(use_true_random=False), st.integers(1, 30), st.booleans(), st.booleans(), st.sampled_from([0, 2**31 - 700, 2**32 - 700]))
def test_fates_are_those_of_the_path(rng: random.Random, count, marked, offloaded, isn):
    """Data, some of it sent again, over a path that loses some, keeps or rewrites the identification, and cuts or joins segments."""
    sent, truth, arrivals, top = [], [], [], 0
    for number in range(1, count + 1):
        again = sent and rng.random() < 0.3
        begin = rng.choice(sent).seq - isn & 0xFFFFFFFF if again else top
        length = rng.choice([100, 200, 700]) if not again else rng.choice([100, 200])
        top = max(top, begin + length)
        at = number * S
        sent.append(packet(number, at, (isn + begin) % 2**32, length=length, mark=number))
        arrived = set(range(begin, begin + length))
        if offloaded:  # each part of 100 bytes is lost or not
            for part in range(begin, begin + length, 100):
                if rng.random() < 0.3:
                    arrived -= set(range(part, part + 100))
        elif rng.random() < 0.3:
            arrived = set()
        truth.append((Fate.LOST if not arrived else Fate.ARRIVED if len(arrived) == length else Fate.PARTLY, length - len(arrived)))
        place = begin
        while place < begin + length:
            end = place
            while end in arrived and (not offloaded or end - place < 200):
                end += 1
            if end > place:
                mark = number if marked else 10_000 + len(arrivals)
                arrivals.append(packet(len(arrivals) + 1, at + 30 * MS, (isn + place) % 2**32, length=end - place, mark=mark))
            place = max(end, place + 1)
    found = judged(sent, arrivals)
    assert truth == list(zip(found.sent, found.missing, strict=True))
    assert [] == found.not_sent


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10))), st.integers(0, 60), st.integers(0, 20))
def test_union_counts_bytes_as_a_set_of_them_does(ranges, begin, length):
    covered = {byte for start, size in ranges for byte in range(start, start + size)}
    expected = len(covered & set(range(begin, begin + length)))
    assert expected == Union((start, start + size) for start, size in ranges).covered(begin, begin + length)


def test_lost_copy_is_told_by_its_identification():
    sent = [packet(1, 0, mark=7), packet(2, S, mark=8), packet(3, 2 * S, seq=1100, mark=9)]
    seen = [packet(1, 2 * S, mark=7), packet(2, 2 * S + MS, seq=1100, mark=9)]  # the first came late, after the second was sent
    assert [Fate.ARRIVED, Fate.LOST, Fate.ARRIVED] == judged(sent, seen).sent


def test_both_copies_that_come_late_have_arrived_without_an_identification():
    sent = [packet(1, 0), packet(2, S)]
    assert [Fate.ARRIVED, Fate.ARRIVED] == judged(sent, [packet(1, 2 * S), packet(2, 2 * S + MS)]).sent


def test_empty_segments_are_told_by_acknowledgement_and_identification():
    sent = [packet(n, n * S, length=0, ack=n // 2, mark=n) for n in range(1, 7)]
    seen = [sent[0], sent[3], sent[4]]
    assert [Fate.ARRIVED, Fate.LOST, Fate.LOST, Fate.ARRIVED, Fate.ARRIVED, Fate.LOST] == judged(sent, seen).sent


def test_fin_and_syn_take_a_number_each():
    sent = [packet(1, flags=SYN, length=0, seq=999, ack=0), packet(2, S, flags=ACK | FIN, length=100)]
    seen = [packet(1, flags=SYN, length=0, seq=999, ack=0), packet(2, S, length=100)]
    found = judged(sent, seen)
    assert ([Fate.ARRIVED, Fate.PARTLY], [0, 1]) == (found.sent, found.missing)


def test_what_the_receiver_acknowledged_arrived_though_its_capture_lacks_it():
    sent = [packet(1), packet(2, S, seq=1100), packet(3, 2 * S, seq=1200)]
    assert [Fate.ARRIVED, Fate.UNRECORDED, Fate.LOST] == judged(sent, sent[:1], acknowledged=[1200]).sent
    assert [Fate.UNRECORDED] == judged([packet(seq=2**32 - 50)], [], acknowledged=[50]).sent


def test_nothing_is_judged_lost_while_the_other_capture_was_not_running():
    sent = [packet(n, n * S, seq=1000 + 100 * n) for n in range(10)]
    watch = Watch(2 * S, 9 * S, hole=(5 * S, 5 * S + 1))
    kept = [Fate.NOT_JUDGED] * 2 + [Fate.LOST] * 2 + [Fate.NOT_JUDGED] * 2 + [Fate.LOST] * 3 + [Fate.NOT_JUDGED]
    assert kept == judged(sent, [], receiving=watch).sent


def test_uncertainty_of_the_clocks_narrows_what_is_judged():
    sent = [packet(1, 3 * S, slack_ns=2 * S)]
    assert [Fate.NOT_JUDGED] == judged(sent, [], receiving=Watch(2 * S, 9 * S)).sent
    assert [Fate.LOST] == judged(sent, [], receiving=Watch(1 * S, 9 * S)).sent


def test_reset_that_was_not_sent_is_found_and_one_that_was_sent_is_not():
    sent = [packet(1), packet(2, 5 * S, seq=1100, flags=RST, length=0)]
    forged = packet(9, 4 * S, seq=1100, flags=RST | ACK, length=0)
    assert [1] == judged(sent, [sent[0], forged, sent[1]]).not_sent
    assert [] == judged([], [forged], sending=Watch(3 * S + 1, 9 * S)).not_sent  # it may have left before that capture began


def test_data_that_was_not_sent_is_found_and_copies_made_by_the_network_are_not():
    sent = [packet(1)]
    assert [2] == judged(sent, [packet(1), packet(2), packet(3, seq=1100)]).not_sent


def test_packets_without_data_that_are_missing_at_the_end_may_be_missing_only_in_the_capture():
    sent = [packet(0), *(packet(n, n * MS, seq=1100, length=0, ack=n) for n in range(1, 5))]
    found = summary(sent, sent[:1])
    assert (4, None) == (found.lost, found.dead)
    assert summary([*sent, packet(5, 5 * MS, seq=1100)], sent[:1]).dead is not None


def test_path_is_not_dead_where_its_end_was_recorded_no_more():
    """The sender's side still has packets of the receiver that the receiver's own side does not."""
    sent = [packet(n, n * S, seq=1000 + 100 * n) for n in range(6)]
    back = [packet(0, 0, length=0, ack=1100), packet(1, 4 * S, length=0, ack=1200)]
    assert (None, 1) == ((found := summary(sent, sent[:2], back[:1], back)).dead, found.lacking)
    reset = [back[0], packet(1, 4 * S, flags=RST, length=0)]  # such as a firewall makes
    assert (True, 0) == ((found := summary(sent, sent[:2], back[:1], reset)).dead is not None, found.lacking)


def test_path_is_dead_when_three_packets_or_three_seconds_brought_nothing():
    sent = [packet(n, n * S, seq=1000 + 100 * n) for n in range(6)]
    dead = summary(sent, sent[:3]).dead
    assert (3, 5, 3, 300) == (dead.first.packet, dead.last.packet, dead.packets, dead.payload_bytes)
    assert summary(sent, sent[:4]).dead is None
    slow = [*sent[:4], sent[4]._replace(at_ns=10 * S), sent[5]._replace(at_ns=13 * S)]
    assert 2 == summary(slow, slow[:4]).dead.packets
    assert 7 * S == summary(slow, slow[:4]).dead.idle_ns


def test_packet_that_arrives_later_shows_that_the_path_was_not_dead():
    sent = [packet(n, n * S, seq=1000 + 100 * n) for n in range(9)]
    found = summary(sent, [sent[0], sent[8]])
    assert (None, 7) == (found.dead, found.lost)
    assert [(1, 7, 7)] == [(one.first.packet, one.last.packet, one.packets) for one in found.lost_ranges]


def test_other_way_counts_what_was_sent_after_the_path_died():
    sent = [packet(n, n * S, seq=1000 + 100 * n) for n in range(6)]
    back = [packet(n, n * S + MS, length=0, ack=n) for n in range(6)]
    dead = summary(sent, sent[:3], back, back[:5]).dead
    assert (3, 2) == (dead.other_way, dead.other_way_arrived)


def sizes(*lengths, arrived):
    """Packets a second apart, of which those with these numbers arrive."""
    sent = [packet(n, n * S, seq=1000 + sum(lengths[:n]), length=length) for n, length in enumerate(lengths)]
    return summary(sent, [sent[n] for n in arrived])


def test_path_that_drops_by_size_is_not_dead():
    found = sizes(100, 1448, 1448, 1448, 1448, 500, arrived=(0, 5))
    large = found.too_large
    assert (1, 4, 4, 1448) == (large.first.packet, large.last.packet, large.packets, large.smallest_lost)
    assert (1, 500, True, None) == (large.arrived, large.largest_arrived, large.between, found.dead)


def test_path_that_narrows_drops_by_size_from_then_on():
    found = sizes(1448, 1448, 1448, 1448, 0, 1448, 1448, arrived=(0, 1, 4))
    assert (2, 4, 1, 0) == (found.too_large.first.packet, found.too_large.packets, found.too_large.arrived, found.too_large.largest_arrived)
    assert not found.too_large.between  # two were lost when it came: the path may have died after that
    assert found.dead is None


@pytest.mark.parametrize(
    ("lengths", "arrived"),
    [
        ((100, 1448, 1448, 1448, 1448), (0,)),  # nothing smaller was sent meanwhile: dead
        ((100, 1448, 500, 1448, 1448, 100), (0, 5)),  # a small one was lost as well
        ((100, 1448, 1448, 1448, 100, 1448), (0, 4, 5)),  # a large one arrived in the end
        ((100, 900, 900, 900, 900, 100), (0, 5)),  # so small that every path takes them
        ((100, 1448, 1448, 100), (0, 3)),  # two may be a coincidence
    ],
)
def test_other_losses_are_not_told_by_size(lengths, arrived):
    assert sizes(*lengths, arrived=arrived).too_large is None


def test_only_packets_that_are_once_on_both_sides_are_recognised():
    sent = [packet(1, mark=1), packet(2, mark=2), packet(3, seq=1100)]
    assert [(3, 8)] == [(one.packet, other.packet) for one, other in recognised(sent, [packet(7, mark=5), packet(8, seq=1100)])]
    assert [(1, 9)] == [(one.packet, other.packet) for one, other in recognised(sent, [packet(9, mark=1), packet(8, mark=5)])]


def test_data_that_nothing_acknowledges_is_lost_though_nothing_of_its_direction_was_recorded():
    assert [Fate.LOST] * 3 == judged([packet(number, number * S) for number in (1, 2, 3)], []).sent


def test_bare_acknowledgements_are_not_judged_by_a_capture_that_has_none_of_their_direction():
    found = judged([packet(number, number * S, length=0, ack=number) for number in (1, 2, 3)], [])
    assert [Fate.NOT_JUDGED] * 3 == found.sent
    assert [0] * 3 == found.missing


def test_a_capture_that_acknowledges_what_it_does_not_have_did_not_record_this_direction():
    sent = [packet(number, number * S, seq=1000 + 100 * number) for number in (0, 1, 2)]
    assert [Fate.UNRECORDED, Fate.NOT_JUDGED, Fate.NOT_JUDGED] == judged(sent, [], acknowledged=[1100]).sent
