"""TLS conversations of a real stack, read from both sides."""

import ssl

import pytest

from captool.tls.conversation import starts_like_tls
from tests.tls.stacks import CLIENT, DIALOGUE, SERVER, contexts, cut, identity, key_ring, read, record, said, text

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RSA_SUITES = ["AES128-SHA", "AES256-SHA", "AES128-SHA256", "AES256-SHA256", "AES128-GCM-SHA256", "AES256-GCM-SHA384"]
MORE_RSA_SUITES = ["AES128-CCM", "AES256-CCM8", "CAMELLIA128-SHA", "CAMELLIA256-SHA256", "NULL-SHA256"]


def docker_like(ciphers="DEFAULT", version=V12, **options):
    return record(*contexts(ciphers=ciphers, version=version, client=identity(organization="root.<bootstrap>"), **options))


@pytest.mark.parametrize("suite", RSA_SUITES + MORE_RSA_SUITES)
def test_rsa_key_opens_mutual_tls_12(suite):
    recording = docker_like(suite)
    conversation, plain = read(recording.wire, key_ring(identity()))
    summary = conversation.summary()
    assert ("decrypted", None, "TLS 1.2", "RSA") == (summary.status, summary.reason, summary.version, summary.key_exchange)
    assert summary.finished_verified
    assert summary.extended_master_secret
    assert "root.runner-1" == summary.certificate_organization
    assert said(DIALOGUE, CLIENT) == text(plain, CLIENT)
    assert said(DIALOGUE, SERVER) == text(plain, SERVER)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, V12, V13])
def test_key_log_opens_every_version(version):
    recording = docker_like(version=version)
    conversation, plain = read(cut(recording.wire, 1000), key_ring(key_log=recording.key_log))
    assert "decrypted" == conversation.summary().status
    assert said(DIALOGUE, SERVER) == text(plain, SERVER)


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\x80", b"\x17\x03\x03", b"\x16"])
def test_records_look_like_tls(data):
    assert starts_like_tls(data)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1", b"\x16\x02\x00\x00\x10", b"\x17\x03\x03\xff\xff"])
def test_other_bytes_do_not_look_like_tls(data):
    assert not starts_like_tls(data)
