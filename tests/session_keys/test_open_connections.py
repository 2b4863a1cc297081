"""Connections that are older than the recording, and sockets as the kernel lists them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from captool.session_keys.live_sockets import ESTABLISHED, LISTEN, LiveSocket, live_sockets, owners
from captool.session_keys.open_connections import MAX_NAMED, OpenConnection, open_connections, sentences

CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 2376)


def test_the_end_with_the_recorded_port_is_the_server_and_both_ends_are_one_connection():
    sockets = [LiveSocket(SERVER, CLIENT, ESTABLISHED, 0), LiveSocket(CLIENT, SERVER, ESTABLISHED, 8), LiveSocket(SERVER, ("", 0), LISTEN, 9)]
    assert (OpenConnection(CLIENT, SERVER, 12),) == open_connections(sockets, {8: 12, 9: 13}, (2376,))


def test_they_are_named_with_their_program():
    (sentence,) = sentences((OpenConnection(CLIENT, SERVER, 12),), {12: "docker"})
    assert sentence.startswith("10.0.0.1:40000 -> 10.0.0.2:2376 (docker, pid 12) is open already and will stay encrypted")
    (sentence,) = sentences((OpenConnection(("fe80::1", 1), ("fe80::2", 2376), None),), {})
    assert sentence.startswith("[fe80::1]:1 -> [fe80::2]:2376 is open already")


def test_a_crowd_is_counted():
    crowd = tuple(OpenConnection(("10.0.0.1", port), SERVER, None) for port in range(MAX_NAMED + 5))
    assert "5 more connections are open already and will stay encrypted" == sentences(crowd, {})[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_sockets_of_this_machine_and_their_owner(family, address, without):
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        without("no IPv6 here")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        port = listener.getsockname()[1]
        sockets = live_sockets((port,))
        assert {LISTEN, ESTABLISHED} == {each.state for each in sockets}
        assert set(owners([each for each in sockets if each.local == client.getsockname()[:2]]).values()) == {os.getpid()}
        (connection,) = open_connections(sockets, owners(sockets), (port,))
        assert (client.getsockname()[:2], (address, port)) == (connection.client, connection.server)


@pytest.mark.slow
def test_sockets_of_an_ipv4_connection_on_an_ipv6_listener_have_its_addresses(without):
    try:
        listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError:
        without("no IPv6 here")
    with listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        port = listener.getsockname()[1]
        (connection,) = open_connections(live_sockets((port,)), {}, (port,))
    assert connection.server == ("127.0.0.1", port)


@pytest.mark.slow
@pytest.mark.needs("unshare", root=True)
def test_sockets_of_another_network_namespace():
    script = "import socket, sys; s = socket.create_server(('0.0.0.0', 23761)); print('ready', flush=True); sys.stdin.read()"
    command = ["unshare", "--net", sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        sockets = live_sockets((23761,))
        assert [("0.0.0.0", 23761)] == [each.local for each in sockets]
        assert [process.pid] == list(owners(sockets).values())
        before = Path("/proc/self/ns/net").stat().st_ino
        process.stdin.close()
    assert before == Path("/proc/thread-self/ns/net").stat().st_ino
