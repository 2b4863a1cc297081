"""What a path does to connections, told while they are open; held against what the whole capture says."""

import struct

import pytest

from builders import ACK, RST, SECOND, SERVER, SYN, Packet, Talk, ethernet, ip, pcap
from captool.analysis import analyze
from test_live import Player, asked


def told(tmp_path, talk):
    player = Player(tmp_path, idle_timeout_ns=1000 * SECOND).talk(talk)
    player.look()
    player.wait_until(player.now + 10 * SECOND)
    return player.sentences()


def whole(tmp_path, talk):
    path = tmp_path / "whole.pcap"
    path.write_bytes(pcap(talk.packets))
    return {finding.code: finding for finding in analyze(path).findings}


def again(talk, data, times, seconds, **said):
    for _ in range(times):
        talk.wait(seconds).server(data, seq=talk.next[1] - len(data))
        if said:
            talk.client(**said)
    return talk


def icmp(about, kind, code, rest=0):
    return ethernet(ip(struct.pack(">BBHI", kind, code, 0, rest) + about[14:42], ("10.0.9.1", 0), SERVER, 1, protocol=1))


def refused(kind, code, rest=0, *, after=0.001):
    talk = asked()
    for number in range(3):
        talk.wait(1).server(b"more", seq=talk.next[1] - 4 * bool(number))
        talk.packets.append(Packet(icmp(talk.packets[-1].frame, kind, code, rest), talk.now + round(after * SECOND)))
    return talk


def test_an_icmp_error_is_told_when_it_comes_and_once(tmp_path):
    talk = refused(3, 13)
    lines = [line for line in told(tmp_path, talk) if "ICMP" in line[1]]
    assert [("warning", "10.0.9.1 answers what the server sends with an ICMP error: communication administratively prohibited")] == lines
    assert "icmp-error" in whole(tmp_path, talk)


def test_an_icmp_error_that_comes_after_the_look_at_its_connection_is_told_too(tmp_path):
    lines = [line for line in told(tmp_path, refused(3, 4, 1300, after=0.9)) if "ICMP" in line[1]]
    assert [("info", "10.0.9.1 answers what the server sends with an ICMP error: fragmentation needed (at most 1300 bytes pass)")] == lines


def test_an_icmp_error_about_another_connection_or_a_later_one_is_not_told_of_this_one(tmp_path):
    talk = asked()
    other = Talk(client_end=("10.0.0.77", 7)).opened().server(b"x").packets[-1].frame
    talk.packets.append(Packet(icmp(other, 3, 1), talk.now + 1000))
    assert [] == told(tmp_path, talk.wait(1).client(b"GET /").server(b"200").client())


def test_an_outage_is_told_when_it_is_over(tmp_path):
    talk = again(asked().server(b"more"), b"more", 4, 2)
    lines = told(tmp_path, talk.wait(1).client().server(b"new").client())
    (cut_off,) = [line for line in lines if "cut off" in line[1]]
    assert ("warning", True) == (cut_off[0], cut_off[1].startswith("was cut off for 9.0"))
    assert cut_off[1].endswith(" and goes on: in that time the client acknowledged nothing of what the server sent (4 retransmissions)")
    assert "outage" in whole(tmp_path, talk)
    assert [] == [line for line in told(tmp_path, again(asked().server(b"more"), b"more", 1, 2).client()) if "cut off" in line[1]]


def test_a_direction_that_is_dead_is_told_and_taken_back(tmp_path):
    talk = asked().server(b"more")
    old = talk.next[1] - 4
    again(talk, b"more", 4, 1, payload=b"still here", ack=old)
    (dead,) = told(tmp_path, talk)
    assert "error" == dead[0]
    assert dead[1].startswith("one direction is dead so far: what the server sends again and again (")
    assert "is not acknowledged, and the client is heard" in dead[1]
    assert "one-way-loss" in whole(tmp_path, talk)
    lines = told(tmp_path, talk.wait(1).client().server(b"new").client())
    assert ("info", "what the server sends arrives at the client again") in lines
    assert "one-way-loss" not in whole(tmp_path, talk)


def test_acknowledgements_that_do_not_arrive_are_told_and_taken_back(tmp_path):
    talk = asked().server(b"more").client()
    for _ in range(5):
        talk.wait(1).server(b"more", seq=talk.next[1] - 4).client()
    (dead,) = told(tmp_path, talk)
    assert "although the client has acknowledged it, so what the client sends does not arrive" in dead[1]
    assert "one-way-loss" in whole(tmp_path, talk)
    assert ("info", "what the client sends arrives at the server again") in told(tmp_path, talk.server(b"new").client())


def test_an_answer_does_not_go_on_behind_a_reset_in_use(tmp_path):
    talk = Talk().opened().client(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").client()
    talk.wait(0.5).server(b"1\r\nx\r\n").client(flags=RST, ack=0, window=0).wait(3)
    assert [("warning", "reset in the client's name by whoever does not know the connection")] == told(tmp_path, talk)
    assert "reset-in-use" in whole(tmp_path, talk)


def test_a_connection_that_the_server_does_not_know_is_named_when_it_is_reset(tmp_path):
    talk = Talk().client(b"x").server(flags=RST, ack=0)
    ((severity, sentence),) = told(tmp_path, talk)
    assert "warning" == severity
    assert sentence.startswith("broken off by the server (RST), which does not know the connection")
    assert "connection-unknown" in whole(tmp_path, talk)


@pytest.mark.parametrize(("waits", "severity"), [((1, 2, 4), "warning"), ((1,), "info"), ((0.5,), None)])
def test_a_connection_that_took_long_to_open_is_told_once_it_is_open(tmp_path, waits, severity):
    talk = Talk().client(flags=SYN, ack=0)
    for wait in waits:
        talk.wait(wait).client(flags=SYN, ack=0, seq=1000)
    talk.server(flags=SYN | ACK).client().client(b"GET /").server(b"200").client()
    times = {3: "3 times", 1: "1 time"}[len(waits)]
    took = f"took {sum(waits):.2f} s to open: the client's SYN was sent again {times} before a SYN-ACK came"
    assert [(severity, took)] * bool(severity) == told(tmp_path, talk)
    assert ("slow-connect" in whole(tmp_path, talk)) == bool(severity)
