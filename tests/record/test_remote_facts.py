"""What a remote host says of itself, and what ssh says of the way there."""

import shutil
import subprocess
import time
from importlib.resources import files

import pytest

from captool.errors import MissingToolError, UsageError
from captool.record.remote import Address, parse_address
from captool.record.remote_facts import Clock, clock_offset, read_facts
from captool.record.remote_failure import ConnectionLostError, connection_failure, has_lost_connection, lost_connection
from captool.session_keys.open_connections import OpenConnection
from recordings import inside, send

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("word", "address", "shown", "by_hand"),
    [
        ("ci-host", Address("ci-host"), "ci-host", "ssh ci-host"),
        ("root@10.0.0.1", Address("10.0.0.1", "root"), "root@10.0.0.1", "ssh root@10.0.0.1"),
        ("ssh://me@corp@host:2222/", Address("host", "me@corp", 2222), "me@corp@host:2222", "ssh -p 2222 me@corp@host"),
        ("root@[fd00::1]:22", Address("fd00::1", "root", 22), "root@[fd00::1]:22", "ssh -p 22 root@fd00::1"),
        ("[fd00::1]", Address("fd00::1"), "fd00::1", "ssh fd00::1"),
        ("root@fd00::1", Address("fd00::1", "root"), "root@fd00::1", "ssh root@fd00::1"),
    ],
)
def test_an_address_is_what_ssh_users_write(word, address, shown, by_hand):
    found = parse_address(word)
    assert (address, shown, by_hand) == (found, found.shown, found.by_hand)


@pytest.mark.parametrize("word", ["", "@", "root@", "-v", "-v@host", "root@-v", "host:", "host:0", "host:70000", "a b", "root@[::1", "-::1:2", "root@-::1:2"])
def test_what_is_no_address_or_would_be_an_option_of_ssh_is_refused(word):
    with pytest.raises(UsageError, match="USER"):
        parse_address(word)


FACTS = """uid 0
user root
name ci-host
system Linux 6.1.0 x86_64
connection 10.0.0.1 40000 fe80::2%eth0 22
may yes
tcpdump /usr/sbin/tcpdump
version tcpdump version 4.99.3
version libpcap version 1.10.3 (with TPACKET_V3)
interface 1 lo
interface 12 eth0
interface x broken
interface
sockets known
socket 0      0      10.0.0.2%eth0:2376   10.0.0.9:37700 users:(("dockerd",pid=712,fd=9),("x",pid=1,fd=2))
socket 0      0      [::ffff:10.0.0.2]:40001   [::ffff:10.0.0.3]:2376
socket 0      0      *:2376   *:*
socket nonsense
offload eth0 generic-receive-offload
offload eth0 tcp-segmentation-offload
offload eth0 rx-checksumming
synchronized no
what is this""".splitlines()


def test_facts_become_what_a_recording_finds():
    facts = read_facts(FACTS)
    assert ("root", "ci-host", "/usr/sbin/tcpdump", True) == (facts.user, facts.name, facts.tcpdump, facts.may_record)
    assert {"lo": 1, "eth0": 12} == facts.interfaces
    found = facts.circumstances([2376], "root@ci-host")
    assert (
        OpenConnection(("10.0.0.9", 37700), ("10.0.0.2", 2376), 712),
        OpenConnection(("10.0.0.2", 40001), ("10.0.0.3", 2376), None),
    ) == found.open
    said = found.sentences(open_told=False)
    assert said[0].startswith("10.0.0.9:37700 -> 10.0.0.2:2376 (dockerd, pid 712) is open already")
    assert "see each one, on root@ci-host: ethtool -K eth0 tso off gro off" in said[2]
    assert said[3].startswith("the clock of root@ci-host is not synchronised")
    assert {"eth0": ["tso", "gro"]} == found.document()["offloads"]


def test_a_host_that_says_nothing_of_its_connections_is_not_taken_for_one_without():
    found = read_facts([line for line in FACTS if not line.startswith("socket")]).circumstances([2376], "ci-host")
    assert found.document()["open_connections"] is None
    assert "on ci-host are not known" in found.sentences(open_told=False)[0]
    assert [] == read_facts(["sockets known"]).circumstances([2376], "ci-host").document()["open_connections"]


def test_the_ssh_connection_is_left_out_in_front_of_the_filter():
    ours = "not (tcp and host 10.0.0.1 and host fe80::2 and port 40000 and port 22)"
    assert f"{ours} and (vlan or tcp)" == read_facts(FACTS).without_ssh("vlan or tcp")
    assert ours == read_facts(FACTS).without_ssh("")


@pytest.mark.parametrize("connection", ["", "UNKNOWN 65535 UNKNOWN 65535", "10.0.0.1 1 10.0.0.2", "10.0.0.1 1 10.0.0.2 22) or (tcp"])
def test_what_is_no_tcp_connection_gets_into_no_filter(connection):
    assert "tcp" == read_facts([f"connection {connection}"]).without_ssh("tcp")


def test_the_clock_offset_is_bounded_by_the_fastest_answer():
    """The remote clock is 5 s ahead; the answers took 4 ms and 2 ms."""
    rounds = [
        (100 * SECOND, "105.001000000", 100 * SECOND + 4_000_000),
        (101 * SECOND, "106.001500000", 101 * SECOND + 2_000_000),
        (102 * SECOND, "nonsense", 102 * SECOND + 1),
    ]
    offset = clock_offset(rounds)
    assert Clock(5 * SECOND + 500_000, 1_000_000) == offset
    assert abs(offset.offset_ns - 5 * SECOND) <= offset.uncertainty_ns
    assert clock_offset(rounds[2:]) is None


def test_a_date_without_fractions_is_good_to_a_second():
    """busybox may print what it does not know; the truth, 5.4 s, is within the bounds."""
    offset = clock_offset([(100 * SECOND, "105.%N", 100 * SECOND)])
    assert Clock(5 * SECOND + SECOND // 2, SECOND // 2) == offset


# Sentences of OpenSSH 7.4 to 9.2, word for word.
@pytest.mark.parametrize(
    ("said", "code", "kind", "text"),
    [
        ("ssh: connect to host h port 22: Connection refused\n", 255, MissingToolError, "connect to host h port 22: Connection refused; try: ssh h true"),
        ("ssh: connect to host h port 22: Connection timed out\n", 255, MissingToolError, "cannot be reached"),
        ("kex_exchange_identification: Connection closed by remote host\n", 255, MissingToolError, "cannot be reached"),
        ("ssh: Could not resolve hostname h: Name or service not known\n", 255, UsageError, "name a host"),
        ("Host key verification failed.\n", 255, MissingToolError, "run ssh h once on a terminal"),
        ("No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.\n", 255, MissingToolError, "not known"),
        (
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\n", 255, MissingToolError, "ssh-keygen -R HOST",
        ),
        ("Welcome!\nroot@h: Permission denied (publickey,password).\n", 255, MissingToolError, "(Permission denied (publickey,password))"),
        ("/etc/ssh/x: line 3: Bad configuration option: foo\n", 255, UsageError, "Bad configuration option: foo"),
        ("This account is currently not available.\n", 1, MissingToolError, "gave no shell there (This account is currently not available)"),
        ("", None, MissingToolError, "no answer by ssh in time (it said nothing)"),
        ("something else\n", 255, MissingToolError, "ssh ended: something else"),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_one_line_with_what_to_do(said, code, kind, text):
    failure = connection_failure(said, "h", "ssh h", code)
    assert kind is type(failure)
    assert text in str(failure)
    assert "\n" not in str(failure)


def test_a_lost_connection_is_told_from_the_end_of_tcpdump():
    assert [True, True, True, False, False] == [has_lost_connection(code) for code in (None, 255, -9, 0, 137)]
    failure = lost_connection("5 packets captured\nTimeout, server h not responding.\r\n", "h")
    assert isinstance(failure, ConnectionLostError)
    assert "to h was lost (Timeout, server h not responding);" in str(failure)
    assert "to h was lost;" in str(lost_connection("", "h"))


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", root=True)
def test_a_connection_that_dies_without_a_sign_ends_tcpdump_there_too(namespace):
    """Its other side says nothing any more, and its input does not end: as when a cable is pulled."""
    script = f"ports=2376\ninterfaces=\npatience=10\n{files('captool.record').joinpath('remote.sh').read_text()}"
    command = inside(namespace, "sh", "-c", f'text=$(dd bs=1 count={len(script.encode())} 2>/dev/null); eval "$text"')
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(f"{script}record {shutil.which('tcpdump')} -i lo -U -w - -Z root udp\n".encode())
        process.stdin.flush()
        before = time.monotonic()
        assert b"captool: tcpdump begins\n" == process.stderr.readline()
        assert b"listening on lo" in process.stderr.readline()
        send(namespace, 3)
        time.sleep(7)
        process.stdin.write(b"alive\n")
        process.stdin.flush()
        assert b"3 packets captured" in process.stderr.read()
        assert 0 == process.wait(5)
        assert 14 < time.monotonic() - before < 40  # it looks every 5 s
        assert b"captool-remote 1\n" in process.stdout.read()


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", root=True)
def test_the_shell_there_waits_for_nobody_who_has_gone_before_the_recording(namespace):
    script = f"ports=2376\ninterfaces=\npatience=5\n{files('captool.record').joinpath('remote.sh').read_text()}"
    command = inside(namespace, "sh", "-c", f'text=$(dd bs=1 count={len(script.encode())} 2>/dev/null); eval "$text"')
    done = subprocess.run(command, input=script.encode() + b"clock\n", capture_output=True, check=True, timeout=10)
    *_, ready, told = done.stdout.decode().splitlines()
    assert "ready" == ready
    assert clock_offset([(0, told, 0)]).offset_ns > 1_700_000_000 * SECOND
