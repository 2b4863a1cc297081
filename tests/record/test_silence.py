from captool.record.silence import Silence, longest_silence
from captool.session_keys.live_sockets import ESTABLISHED, LISTEN, NO_TIMER, SOCKET_TIMER, LiveSocket, SocketCondition
from captool.units import SECOND_NS

HERE, THERE = ("10.0.0.1", 40000), ("10.0.0.2", 2376)


def condition(sent, received, acknowledged, *, timer=NO_TIMER, due=0, attempts=0):
    times = (None if value is None else int(value * SECOND_NS) for value in (sent, received, acknowledged))
    return SocketCondition(timer, int(due * SECOND_NS), attempts, 0, 0, *times, 0, 0, 65535)


def live(local, remote, told, state=ESTABLISHED):
    return LiveSocket(local, remote, state, 7, 1, told)


def test_the_longest_silent_connection_is_told_with_its_timer():
    busy = live(("10.0.0.1", 40001), THERE, condition(900, 1, 1))
    quiet = live(HERE, THERE, condition(312, 310, 310, timer=SOCKET_TIMER, due=12))
    found = longest_silence([busy, quiet, live(THERE, ("0.0.0.0", 0), condition(9999, 9999, 9999), LISTEN)])
    assert Silence(2, HERE, THERE, 310 * SECOND_NS, 12 * SECOND_NS) == found
    assert "10.0.0.1:40000 - 10.0.0.2:2376 silent for 310.0 s (5 min 10 s), no probe yet, next probe in 12.00 s" == found.sentence()


def test_an_ack_since_the_last_data_is_a_probe_or_an_answer():
    found = longest_silence([live(HERE, THERE, condition(312, 310, 5))])
    assert "probe or answer 5.00 s ago, no keepalive timer" in found.sentence()


def test_probes_that_nobody_answers_are_counted():
    found = longest_silence([live(HERE, THERE, condition(60, 60, 60, timer=SOCKET_TIMER, due=1, attempts=3))])
    assert "3 probes unanswered, next probe in 1.00 s" in found.sentence()


def test_both_ends_on_this_host_are_one_connection_and_unknown_times_are_none():
    told = condition(1, 1, 1)
    assert longest_silence([live(HERE, THERE, told), live(THERE, HERE, told)]).connections == 1
    assert Silence(1) == longest_silence([live(HERE, THERE, condition(None, None, None))])
    assert Silence(0) == longest_silence([live(HERE, THERE, None)])
    assert "" == Silence(0).sentence()
