"""The ways out of forward secrecy, for the client and the server at hand: what the hello offers, what both ends called themselves."""

import ssl

import pytest

from captool.analysis import analyze
from captool.findings.decryption import not_decrypted
from captool.report.text import render
from captool.tcp.connection import Endpoint
from tables import analysis, attach, connection, tables, tcp, tls
from tests.tls.captures import talk, write
from tests.tls.stacks import DIALOGUE, contexts, identity, key_ring, record

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
OFFERED = ("TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA")


def closed(number=0, offered=(), **changes):
    return connection(tcp(id=number, **changes), tls=tls(status="encrypted", reason="forward-secrecy", offered_rsa_suites=offered))


def read(number=9, agent="Docker-Client/28.2.2 (linux)", server="Docker/20.10.24 (linux)", ends=None):
    exchange = attach(request_headers=(("user-agent", agent),), response_headers=(("server", server),))
    one = tcp(id=number)
    if ends:
        one = tcp(id=number, client=ends[0], server=ends[1])
    return connection(one, tls=tls(), exchanges=(exchange,))


def remedy(*connections):
    return next(not_decrypted(tables(*connections))).remedy


def test_client_without_rsa_suites_is_not_sent_to_change_the_server():
    text = remedy(closed())
    assert "its ClientHello offers no TLS_RSA_ suite" in text
    assert "Or let the server" not in text
    assert text.startswith("Take the session keys while recording")
    assert "`captool doctor --server 10.0.0.2:2376`" in text


def test_client_with_rsa_suites_learns_which():
    text = remedy(closed(offered=OFFERED))
    assert "accept nothing but TLS 1.2 with TLS_RSA_WITH_AES_128_CBC_SHA (one of 2 TLS_RSA_ suites that this client offers)" in text
    assert "OpenSSL-based servers and TLS-terminating proxies can be told to, dockerd cannot." in text
    assert "`captool doctor --server 10.0.0.2:2376`" in text


@pytest.mark.parametrize(
    ("server", "fact"),
    [
        ("Docker/20.10.24 (linux)", "dockerd accepts none since 18.09"),
        ("Docker/18.09.0 (linux)", "dockerd accepts none since 18.09"),
        ("Docker/18.06.3-ce (linux)", "dockerd up to 18.06 does"),
        ("nginx/1.22", "OpenSSL-based servers"),
        ("Docker/x.y", "OpenSSL-based servers"),
        ("Docker/1", "OpenSSL-based servers"),
        ("Docker/²2.³3", "OpenSSL-based servers"),
    ],
)
def test_server_is_judged_by_what_it_called_itself_on_another_connection(server, fact):
    assert fact in remedy(closed(offered=OFFERED), read(server=server))


def test_programs_are_named_with_the_connection_that_told():
    text = remedy(closed(), read())
    assert (
        "(the client's address was Docker-Client/28.2.2 (linux) on connection 9; the server was Docker/20.10.24 (linux) on connection 9)"
        in text
    )


def test_programs_of_other_addresses_are_not_taken_for_these():
    text = remedy(closed(), read(ends=(Endpoint("10.0.0.7", 1), Endpoint("10.0.0.8", 2376))))
    assert "Docker" not in text


def test_without_a_client_hello_both_ways_are_named():
    assert "Two ways out" in remedy(closed(offered=None))


def test_ipv6_server_is_written_as_doctor_takes_it():
    assert "--server [fe80::1]:2376`" in remedy(closed(offered=None, server=Endpoint("fe80::1", 2376)))


def test_message_counts_the_connections_concerned():
    (alone,) = not_decrypted(tables(closed()))
    first, second = not_decrypted(tables(closed(), closed(1)))
    assert "So it is with" not in alone.message
    assert "So it is with 2 connections of this capture." in first.message
    assert (2, False) == (second.evidence["connections_concerned"], second.evidence["client_offers_rsa"])


def test_hostile_program_names_cannot_act_on_the_terminal():
    text = render(analysis(closed(), read(agent="\x1b[2J\x1b]0;owned\x07" + "x" * 5000)))
    assert not [character for character in text if ord(character) < 32 and character != "\n"]
    assert "x" * 61 not in text


@pytest.mark.parametrize(
    ("ciphers", "version", "seen", "group", "offers"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", V12, "in its ServerKeyExchange (x25519)", "x25519", False),
        ("ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA", V12, "in its ServerKeyExchange (x25519)", "x25519", True),
        ("DEFAULT", V13, "the ServerHello brings a key share made for this session alone (x25519)", "x25519", False),
    ],
)
def test_key_exchange_is_told_as_it_was_seen(tmp_path, ciphers, version, seen, group, offers):
    recording = record(*contexts(ciphers=ciphers, version=version), DIALOGUE)
    found = analyze(write(tmp_path / "c.pcap", talk(recording.wire)), key_ring(identity()))
    (one,) = found.connections
    assert ("forward-secrecy", group, offers) == (one.tls.reason, one.tls.group, bool(one.tls.offered_rsa_suites))
    assert seen in one.tls.detail
    (finding,) = [one for one in found.findings if one.code == "forward-secrecy"]
    assert ("this client offers" in finding.remedy) == offers


def test_client_of_both_versions_offers_what_tls_12_would_take(tmp_path):
    client, server = contexts(ciphers="ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA", version=V13)
    client.minimum_version = V12
    (one,) = analyze(write(tmp_path / "c.pcap", talk(record(client, server).wire))).connections
    assert ("TLS 1.3", ("TLS_RSA_WITH_AES_256_CBC_SHA",)) == (one.tls.version, one.tls.offered_rsa_suites)
