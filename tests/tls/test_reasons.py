"""Each reason for which a connection stays closed, produced by a capture file: none is left without one."""

import subprocess
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from captool.analysis import analyze
from captool.findings.decryption import REMEDIES
from captool.keys.material import KeyRing
from captool.report.text import render
from captool.tls.summary import Reason
from tests.tls.captures import talk, write
from tests.tls.stacks import CLIENT, SERVER, Wire, contexts, identity, key_ring, record

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
OTHER = "another machine"


@cache
def session(ciphers: str = "AES128-GCM-SHA256", *, resumed: bool = False) -> Wire:
    both = contexts(ciphers=ciphers)
    original = record(*both)
    return record(*both, session=original.session).wire if resumed else original.wire


def no_secret():
    return [talk(session())], KeyRing()


def forward_secrecy():
    return [talk(session("ECDHE-RSA-AES128-GCM-SHA256"))], key_ring(identity())


def no_matching_key():
    return [talk(session())], key_ring(identity(organization=OTHER))


def no_matching_session_key():
    return [talk(session("ECDHE-RSA-AES128-GCM-SHA256"))], key_ring(key_log=record(*contexts()).key_log)


def resumed_without_original():
    return [talk(session(resumed=True))], key_ring(identity())


def handshake_not_captured():
    whole = talk(session())
    del whole.packets[: len(whole.packets) - 6]
    return [whole], key_ring(identity())


def stream_gap():
    return [talk(session(), lost={len(session()) + 3})], key_ring(identity())


def snapped():
    longest = max(range(len(session())), key=lambda at: len(session()[at][1]))
    return [talk(session(), size=60_000, cuts={longest: 500})], key_ring(identity())


def bad_record_mac():
    wire = list(session())
    at = max(index for index, (direction, data) in enumerate(wire) if direction == CLIENT and data[0] == 23)
    wire[at] = CLIENT, wire[at][1][:-1] + bytes([wire[at][1][-1] ^ 0x80])
    return [talk(wire)], key_ring(identity())


def unsupported_suite():
    """ARIA, which OpenSSL has and cryptography has not."""
    return [talk(session("ARIA128-GCM-SHA256"))], key_ring(identity())


def not_tls():
    return [talk([(CLIENT, b"\x16\x03\x01\x00\x05hello"), (SERVER, b"SSH-2.0-OpenSSH_9.2\r\n")])], key_ring(identity())


CASES = {
    "no-secret": no_secret,
    "forward-secrecy": forward_secrecy,
    "no-matching-key": no_matching_key,
    "no-matching-session-key": no_matching_session_key,
    "resumed-without-original": resumed_without_original,
    "handshake-not-captured": handshake_not_captured,
    "stream-gap": stream_gap,
    "snapped": snapped,
    "bad-record-mac": bad_record_mac,
    "unsupported-suite": unsupported_suite,
    "not-tls": not_tls,
}
PARTLY = {"stream-gap", "snapped", "bad-record-mac"}


def test_every_reason_has_a_capture_and_a_remedy():
    assert list(get_args(Reason)) == list(CASES)
    assert set(get_args(Reason)) == set(REMEDIES)


@pytest.mark.parametrize("reason", CASES)
def test_capture_gives_its_reason(tmp_path: Path, reason: str):
    talks, ring = CASES[reason]()
    found = analyze(write(tmp_path / "c.pcap", *talks), ring)
    (one,) = found.connections
    assert (reason, "partly" if reason in PARTLY else "encrypted") == (one.tls.reason, one.tls.status), one.tls.detail
    assert one.tls.detail.endswith(".")
    assert reason in PARTLY or not any(one.tls.plaintext_bytes)
    text = " ".join(render(found).split())
    assert f"{reason} connection 0." in text


def test_unsupported_suite_is_named(tmp_path: Path):
    talks, ring = unsupported_suite()
    (one,) = analyze(write(tmp_path / "c.pcap", *talks), ring).connections
    assert "captool cannot decrypt TLS_RSA_WITH_ARIA_128_GCM_SHA256 in TLS 1.2." == one.tls.detail


@pytest.mark.needs("editcap")
def test_snapped_handshake_comes_before_all_other_reasons(tmp_path: Path):
    whole = write(tmp_path / "c.pcap", talk(session(), size=60_000))
    subprocess.run(["editcap", "-s", "120", whole, tmp_path / "cut.pcap"], check=True)
    for ring in (KeyRing(), key_ring(identity()), key_ring(identity(organization=OTHER))):
        (one,) = analyze(tmp_path / "cut.pcap", ring).connections
        assert "snapped" == one.tls.reason


@pytest.mark.parametrize("bits", [1024, 2048])
def test_without_a_certificate_that_can_be_read_no_key_is_said_to_have_failed_at_finished(tmp_path, bits):
    wire = [(direction, data.replace(b"\x30\x82", b"\x31\x82", 2) if direction == SERVER else data) for direction, data in session()]
    (one,) = analyze(write(tmp_path / "c.pcap", talk(wire)), key_ring(identity(organization=OTHER, bits=bits))).connections
    assert (None, "no-matching-key") == (one.tls.certificate, one.tls.reason)
    assert one.tls.detail.endswith("is not opened by any of the 1 given keys: none of them decrypts its premaster secret.")
