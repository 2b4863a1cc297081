"""Lines of trace_pipe, as the kernel writes them and as a hostile process would like them to be."""

import random

import pytest
from hypothesis import settings

from captool.session_keys.events import MAX_LINE, EventLines, EventsLost, SecretSeen, SocketSeen, parse_event
from tests.growth import PROPORTIONATE, growth

RANDOM = bytes(range(1, 33))
SECRET = bytes(range(100, 148))
LABEL = b"CLIENT_TRAFFIC_SECRET_0"


def array(data, room):
    """A fetched array: without leading zeros, and longer than what it was fetched for."""
    return "{" + ",".join(f"{byte:#x}" for byte in data.ljust(room, b"\x7f")[:room]) + "}"


def line(label=LABEL, secret=SECRET, client_random=RANDOM, comm=b"docker", tgid="(   1230) ", lengths=None):
    label_length, random_length, secret_length = lengths or (len(label), len(client_random), len(secret))
    text = (
        f"-1234    {tgid}[001] ..... 5312.871093: k3: (0x746180) ll={label_length} l={array(label, 32)} "
        f"rl={random_length} r={array(client_random, 32)} sl={secret_length} s={array(secret, 48)}"
    )
    return b"          " + comm + text.encode()


def test_a_secret_with_its_event_process_and_time():
    expected = SecretSeen("k3", 1230, 5312871093000, "CLIENT_TRAFFIC_SECRET_0", RANDOM, SECRET)
    assert expected == parse_event(line())


def test_lengths_are_honoured_and_what_is_behind_them_is_left():
    seen = parse_event(line(secret=SECRET[:32]))
    assert (seen.secret, seen.label) == (SECRET[:32], LABEL.decode())


def test_a_process_that_the_kernel_has_forgotten_is_known_by_its_thread():
    assert parse_event(line(tgid="(-------) ")).process == parse_event(line(tgid="")).process == 1234


def test_old_go_gives_no_label():
    text = f"  old-7 [000] .... 1.000001: k0: (0x4a0) rl=32 r={array(RANDOM, 32)} sl=48 s={array(SECRET, 48)}".encode()
    assert SecretSeen("k0", 7, 1000001000, "CLIENT_RANDOM", RANDOM, SECRET) == parse_event(text)


@pytest.mark.parametrize(
    "comm", [b"", b"a b", b"-99 [000] ...", b"x-1 (1) [0] . 1", b"k3: (0x1) ll=", b"\xff\xfe\x1b[31m", b"[001] ..... 1.1", b"9" * 15]
)
def test_a_thread_may_be_called_whatever_it_likes(comm):
    assert parse_event(line(comm=comm)) == parse_event(line())


@pytest.mark.parametrize(
    "text",
    [
        line(lengths=(33, 32, 48)),
        line(lengths=(23, 31, 48)),
        line(lengths=(23, 33, 48)),
        line(lengths=(23, 32, 49)),
        line(lengths=(23, 32, 47)),
        line(lengths=(23, 32, 0)),
        line(lengths=(0, 32, 48)),
        line(lengths=(23, 32, 10**30)),
        line(label=b"lower"),
        line(label=b"A B"),
        line(label=b"A\nB"),
        line(secret=bytes(48)),
        line(client_random=bytes(32)),
        line()[:-1],
        line().replace(b"0x1,", b"0x1ff,"),
        line().replace(b"0x1,", b"0xx,"),
        line().replace(b"0x1,", b",,"),
        b"",
    ],
    ids=range(18),
)
def test_what_is_no_secret(text):
    assert parse_event(text) is None


def test_secrets_are_not_shown():
    assert "100" not in repr(parse_event(line()))
    assert SECRET.hex() not in repr(parse_event(line()))


def test_sockets_that_open():
    text = (
        b"  docker-1234    (   1230) [001] ..... 12.000001: inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP sport=0 dport=2376 "
        b"saddr=10.0.0.1 daddr=10.0.0.2 saddrv6=::ffff:10.0.0.1 daddrv6=::ffff:10.0.0.2 oldstate=TCP_CLOSE newstate=TCP_SYN_SENT"
    )
    assert SocketSeen(1230, 0, 2376, "TCP_SYN_SENT") == parse_event(text)


def test_events_that_were_lost():
    assert EventsLost(12) == parse_event(b"CPU:1 [LOST 12 EVENTS]")


def test_lines_are_the_same_however_they_are_read():
    data = b"\n".join((line(), b"", line(comm=b"x" * 9), b"CPU:0 [LOST 1 EVENTS]")) + b"\n"
    for size in (1, 7, 100, len(data)):
        lines = EventLines()
        read = [each for start in range(0, len(data), size) for each in lines.lines(data[start : start + size])]
        assert data.splitlines() == read


def test_a_line_without_end_is_dropped_and_the_next_one_read():
    lines = EventLines()
    assert [] == [each for _ in range(100) for each in lines.lines(b"x" * MAX_LINE)]
    assert [b"next"] == list(lines.lines(b"x\nnext\n"))


def test_changed_lines_give_an_event_or_nothing():
    dice = random.Random(5)
    whole = line() + b"\n"
    lines = EventLines()
    for _ in range(200 * settings.default.max_examples):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.choice(b"0123456789abcdefx,{}=: \n-[]()\xff\0")
        for each in lines.lines(bytes(data)):
            seen = parse_event(each)
            assert not isinstance(seen, SecretSeen) or (len(seen.client_random) == 32 and len(seen.secret) in {32, 48})


@pytest.mark.parametrize(
    "text",
    [
        b"-1 [1] . 1.000000: inet_sock_set_state: sport=1 dport=1 ",
        b"-1 [1] . 1.000000: inet_sock_set_state: a=b sport=1 dport=1 newstate=X ",
        b"-1 ( 1) [1] . 1.000000: k0: (0x1) ll=1 l={0x1} rl=1 r={0x1",
        b"-1 ( ",
    ],
)
def test_a_line_that_imitates_events_takes_time_in_proportion(text):
    def read(count):
        data = (text * count)[:count]
        return lambda: [parse_event(data) for _ in range(20)]

    assert growth(read, MAX_LINE // 4) < PROPORTIONATE
