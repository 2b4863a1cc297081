"""Sockets of this machine: their options read from another process, and the same told from the timer alone."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from captool.doctor.keepalive import keepalive_of
from captool.doctor.path import Path
from captool.doctor.socket_options import SocketOptions, socket_options
from captool.doctor.sockets import container_in, look_at_sockets, state_name
from captool.session_keys.live_sockets import Holder, holders, live_sockets

SECOND = 1_000_000_000
OTHER = """
import socket, sys
server, client = socket.socket(), socket.socket()
server.bind(("127.0.0.1", 0)); server.listen()
client.connect(server.getsockname())
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option, value in ((socket.TCP_KEEPIDLE, 33), (socket.TCP_KEEPINTVL, 7), (socket.TCP_KEEPCNT, 3), (18, 90000)):
    client.setsockopt(socket.IPPROTO_TCP, option, value)
print(server.getsockname()[1], client.fileno(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pair():
    """A listening port, a client and its accepted end; the client asks for keepalive."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 40)
        accepted, _ = server.accept()
        with accepted:
            yield server.getsockname()[1], client, accepted


def open_descriptors():
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


def seen_of(port, local):
    (each,) = [each for each in live_sockets((port,), conditions=True) if each.local == local.getsockname() and each.remote[1]]
    return each


@pytest.mark.slow
def test_options_of_another_process(without):
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        port, descriptor = map(int, other.stdout.readline().split())
        client = next(each for each in live_sockets((port,)) if each.remote[1] == port)
        holder = holders([client])[client.inode]
        assert Holder(other.pid, descriptor) == holder
        found = socket_options(holder, client.inode)
        before = open_descriptors()
        assert socket_options(holder, client.inode + 1) is None  # that number is another socket's by now
        assert socket_options(Holder(other.pid, 0), client.inode) is None  # a pipe
        assert socket_options(Holder(other.pid, 999), client.inode) is None
        assert before == open_descriptors()
        other.stdin.close()
    if found is None and os.geteuid() != 0:
        without("may not look into other processes (ptrace_scope)")
    assert SocketOptions(True, 33 * SECOND, 7 * SECOND, 3, 90 * SECOND) == found
    assert socket_options(holder, client.inode) is None  # the process has gone


def test_timer_alone_tells_keepalive_from_its_absence(pair):
    port, client, accepted = pair
    probing, silent = keepalive_of(seen_of(port, client), None), keepalive_of(seen_of(port, accepted), None)
    assert ("present", "missing") == (probing.status, silent.status)
    assert 38 * SECOND < probing.timer_ns <= 40 * SECOND
    assert 38 * SECOND < probing.at_least_ns <= 41 * SECOND


def test_window_that_is_full_hides_the_timer_and_is_told(pair):
    port, client, _accepted = pair
    client.setblocking(False)
    try:
        while True:
            client.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    deadline = time.monotonic() + 5
    while (condition := seen_of(port, client).condition).timer == 0 or condition.peer_window:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "not-observable" == keepalive_of(seen_of(port, client), None).status
    assert condition.send_queue > 0
    (report,) = [each for each in look_at_sockets((port,), Path((), ""), None) if each.socket.local == client.getsockname()]
    assert ("present", "socket options") == (report.keepalive.status, report.keepalive.evidence)


def test_socket_that_waits_for_the_other_ends_fin_is_not_taken_for_one_that_probes(pair):
    port, client, accepted = pair
    accepted.shutdown(socket.SHUT_WR)
    client_state = {each.socket.local: each for each in look_at_sockets((port,), Path((), ""), None) if each.socket.remote[1]}
    assert "close-wait" == client_state[client.getsockname()].state
    assert "present" == client_state[client.getsockname()].keepalive.status
    closing = next(each for each in client_state.values() if each.state.startswith("fin-wait"))
    assert closing.keepalive is None
    assert closing.outlook is None


def test_our_own_sockets_have_us_as_their_owner(pair):
    port, client, accepted = pair
    reports = look_at_sockets((port,), Path((), ""), None)
    assert ["established", "established", "listening"] == [each.state for each in reports]
    assert {os.getpid()} == {each.owner.process for each in reports}
    assert {False} == {each.elsewhere for each in reports}
    ends = {each.socket.local: each for each in reports if each.other}
    assert accepted.getsockname() == ends[client.getsockname()].other.local


@pytest.mark.parametrize(
    ("text", "container"),
    [
        ("0::/system.slice/docker-" + "ab" * 32 + ".scope\n", "ab" * 6),
        ("12:pids:/docker/" + "0f" * 32 + "\n11:cpu:/docker/" + "0f" * 32 + "\n", "0f" * 6),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + "12" * 32 + ".scope", "12" * 6),
        ("0::/user.slice/session-3.scope\n", None),
        ("", None),
    ],
)
def test_container_is_known_by_its_control_group(text, container):
    assert container == container_in(text)


def test_states_have_names():
    assert ["established", "close-wait", "listening", "state 0", "state 77"] == [state_name(number) for number in (1, 8, 10, 0, 77)]
