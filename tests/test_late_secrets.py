"""Secrets that stand in a capture far behind the packets that they open: those connections are read a second time."""

import ssl
import struct
from functools import cache

import pytest

from builders import block, pcapng
from captool.analysis import analyze
from captool.direction import Direction
from captool.key_table import key_table
from captool.transcript import Said, plaintext
from tests.tls.captures import talk, write
from tests.tls.stacks import CLIENT, DIALOGUE, SERVER, contexts, identity, record, said

TLS_KEY_LOG = 0x544C534B
PADDING = 1100  # packets of 1,400 bytes: more than a chunk


@cache
def recorded(version):
    return record(*contexts(version=version, ciphers="ECDHE-RSA-AES128-GCM-SHA256" if version is ssl.TLSVersion.TLSv1_2 else "DEFAULT"))


def secrets(key_log):
    return block(10, struct.pack("<II", TLS_KEY_LOG, len(key_log)) + key_log + bytes(-len(key_log) % 4))


def other(start_s):
    """A connection that is no TLS, and long."""
    return talk([(CLIENT, b"SSH-2.0-x\r\n" + bytes(1400 * PADDING))], 40001, start_s=start_s).packets


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("jobs", [1, 2])
def test_behind_everything(tmp_path, version, jobs):
    recording = recorded(version)
    path = tmp_path / "c.pcapng"
    path.write_bytes(pcapng([*talk(recording.wire).packets, *other(60)]) + secrets(recording.key_log))
    found = analyze(path, jobs=jobs)
    one = found.connections[0]
    assert ("decrypted", len(said(DIALOGUE, SERVER))) == (one.tls.status, one.tls.plaintext_bytes.to_client)
    assert [(0,)] == [use.connections for use in found.keys]
    heard = b"".join(part.data for part in plaintext(path, Direction.TO_SERVER, 0) if isinstance(part, Said))
    assert said(DIALOGUE, CLIENT) == heard
    assert [True] == [match.useful for match in key_table(identity().key_file, path).matches]


def test_in_a_later_file(tmp_path):
    recording = recorded(ssl.TLSVersion.TLSv1_3)
    early, late = tmp_path / "a.pcapng", tmp_path / "b.pcapng"
    early.write_bytes(pcapng(talk(recording.wire).packets))
    late.write_bytes(pcapng(other(60)[:3]) + secrets(recording.key_log))
    for order in ([early, late], [late, early], [write(tmp_path / "a.pcap", talk(recording.wire)), late]):
        assert "decrypted" == analyze(order).connections[0].tls.status
    (alone,) = analyze(early).connections
    assert ("encrypted", "forward-secrecy") == (alone.tls.status, alone.tls.reason)


def test_secrets_of_others_change_nothing(tmp_path):
    recording = recorded(ssl.TLSVersion.TLSv1_3)
    path = tmp_path / "c.pcapng"
    path.write_bytes(pcapng([*talk(recording.wire).packets, *other(60)]) + secrets(recorded(ssl.TLSVersion.TLSv1_2).key_log))
    assert ["forward-secrecy", None] == [one.tls and one.tls.reason for one in analyze(path).connections]
