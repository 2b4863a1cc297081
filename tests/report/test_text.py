"""The report for a terminal: the verdict first, the evidence behind it, nothing hostile through."""

import re

from captool.direction import Moment, PerDirection
from captool.findings.key_use import KeyUse
from captool.report.text import render
from captool.tcp.connection import Reset
from tables import S, analysis, attach, capture, connection, dropped_tcp, gap, keepalive, lost_output, tcp, tls

DROPPED = connection(dropped_tcp(), tls=tls(), exchanges=(attach(lost=lost_output(b"result\noops\n", stderr=5)),))


def test_verdict_stands_before_the_evidence():
    text = render(analysis(DROPPED))
    assert text.index("was dropped silently") < text.index(
        "Connection 0  10.0.0.1:40000 → 10.0.0.2:2376  machine runner-1  DROPPED SILENTLY"
    )


def test_evidence_names_request_idle_time_probes_and_lost_bytes():
    text = re.sub(r"\s+", " ", render(analysis(DROPPED)))
    for fact in (
        "POST /v1.41/containers/ab12/attach?stream=1&stdout=1 → 101; stdout 29 bytes",
        "No packet for 601.0 s (10 min 1 s) between packets 4 and 5",
        "No keepalive probe from either side was seen in 601.0 s (10 min 1 s) of idle time",
        "TLS 1.2 TLS_RSA_WITH_AES_256_CBC_SHA; decrypted with runner-1/server-key.pem",
        "Google Cloud VPC firewall (600 s, exceeded by 1.00 s)",
        "│ result │ oops",
        "to do",
    ):
        assert fact in text


def test_each_remedy_is_printed_once():
    text = re.sub(r"\s+", " ", render(analysis(DROPPED)))
    assert 1 == text.count("Let one side send TCP keepalive probes")


def test_container_output_cannot_act_on_the_terminal():
    hostile = connection(dropped_tcp(), exchanges=(attach(lost=lost_output(b"\x1b]0;owned\x07\r[bold]x[/bold]\n"), target="/a\x1b[2J"),))
    text = render(analysis(hostile), colour=False)
    assert not [character for character in text if ord(character) < 32 and character != "\n"]
    assert "[bold]x[/bold]" in text


def test_colour_only_where_asked_for():
    assert "\x1b[" in render(analysis(DROPPED), colour=True)
    assert "\x1b[" not in render(analysis(DROPPED))


def test_healthy_connections_take_a_line_each():
    text = render(analysis(connection(), connection(tcp(id=1))))
    assert "No fault found on 2 connections." in text
    assert 2 == sum("10.0.0.1:40000 → 10.0.0.2:2376" in line for line in text.splitlines())


def test_many_connections_are_cut_and_the_cut_is_said():
    text = render(analysis(*(connection(tcp(id=number)) for number in range(50))))
    assert "and 30 more" in text


def test_connections_of_a_key_are_counted_and_told_by_whether_it_opened_them():
    opened = tuple(connection(tcp(id=number), tls=tls(secret_origin="keys.log:1")) for number in range(23))
    uses = KeyUse("rsa-private-key", "server-key.pem", None, "ab", tuple(range(23))), KeyUse("key-log", "keys.log", None, None, tuple(range(23)))
    text = re.sub(r"\s+", " ", render(analysis(*opened)._replace(keys=uses)))
    assert "key server-key.pem (rsa-private-key): connections 0, 1, 2," in text
    assert "18, 19 and 3 more, not decrypted with it key keys.log (key-log): connections 0, 1," in text
    assert text.rstrip().endswith("18, 19 and 3 more")


def test_keys_and_remarks_beyond_those_shown_are_counted():
    uses = tuple(KeyUse("rsa-private-key", f"{number}.pem", None, "ab", (0,)) for number in range(25))
    text = render(analysis(connection())._replace(keys=uses))
    assert "and 5 more keys of connections of this capture" in text
    quiet = tuple(connection(tcp(id=number, gaps=(gap(9),))) for number in range(24))
    assert "and 4 more such remarks" in render(analysis(*quiet))


def test_a_capture_of_one_direction_does_not_say_who_closed():
    heard = tcp(packets=PerDirection(5, 0), payload_bytes=PerDirection(500, 0), history="SADF", conn_state="SH")
    text = re.sub(r"\s+", " ", render(analysis(connection(heard)), connection=0))
    assert "the client's FIN was seen; no packet of the server was captured" in text
    assert "server not captured, client sent 500 bytes" in text
    assert "closed" not in text


def test_reason_and_remedy_of_what_was_not_decrypted():
    closed = connection(tls=tls(status="encrypted", reason="forward-secrecy", detail="TLS 1.3 always uses an ephemeral key exchange."))
    text = re.sub(r"\s+", " ", render(analysis(closed)))
    assert "forward-secrecy connection 0. TLS 1.3 always uses an ephemeral key exchange." in text
    assert "Two ways out" in text


def test_what_was_not_analysed_is_counted():
    result = analysis(connection())._replace(capture=capture(other_packets=3, truncated_file=True, notes=("trace.pcap: damaged at byte 30",)))
    text = render(result)
    assert "3 packets not TCP" in text
    assert "note: trace.pcap: damaged at byte 30" in text
    assert "ends in the middle of a packet" not in text


def test_probes_and_gaps_of_a_healthy_connection_can_be_asked_for():
    probing = keepalive("present", probes=40, answered=39, interval_ns=15 * S)
    healthy = connection(tcp(gaps=(gap(601, silence_s=15),), keepalive=PerDirection(probing, keepalive())))
    text = re.sub(r"\s+", " ", render(analysis(healthy), connection=0))
    assert "client sent 40 probes every 15.00 s, 39 answered (asked for 15 s: Go's default since 1.12" in text
    assert "; server not observable" in text


def test_the_same_reason_is_told_once_for_all_its_connections():
    closed = tls(status="encrypted", reason="forward-secrecy", detail="ECDHE")
    text = render(analysis(*(connection(tcp(id=number), tls=closed) for number in range(3))))
    assert "connections 0, 1, 2. ECDHE" in text
    assert 1 == text.count("Two ways out")


def test_quiet_connections_say_why_they_are_fine():
    probing = keepalive("present", probes=40, answered=40, interval_ns=15 * S)
    probed = tcp(gaps=(gap(601, silence_s=15, probes=PerDirection(40, 0)),), keepalive=PerDirection(probing, keepalive()))
    text = re.sub(r"\s+", " ", render(analysis(connection(probed), connection(tcp(id=1, gaps=(gap(12),))))))
    assert "0 Idle for 601.0 s (10 min 1 s), bridged by 40 keepalive probes of the client every 15.00 s (asked for 15 s: Go's default" in text
    assert "1 Idle for 12.00 s, shorter than every timeout judged by" in text


def test_a_reset_after_a_close_is_not_called_the_end():
    reset = Reset(Moment(9, 9), "client", 64, 64, 1, 1, acknowledges=False, window=0, sequence_distance=0, own_last=None, peer_last=None)
    closed = tcp(close="rst", closing=Moment(8, 8), closed_by="server", reset=reset)
    assert "closed by the server, then reset" in render(analysis(connection(closed)))
    assert "reset by the client" in render(analysis(connection(closed._replace(closing=Moment(9, 9), closed_by="client"))))
    assert "half-closed by the client" in render(analysis(connection(tcp(history="ShADadF"))))


def test_lost_output_is_marked_in_each_of_its_lines_and_no_character_is_cut_through():
    wide = connection(dropped_tcp(), exchanges=(attach(lost=lost_output("宽".encode() * 80 + b"\xe5\xae")),))
    lines = [line.strip() for line in render(analysis(wide), width=60).splitlines() if "宽" in line]
    assert {"│ 宽"} == {line[:3] for line in lines}
    assert 80 == "".join(lines).count("宽")
    assert "\\xe5" not in lines[-1]
