"""Certificates that real stacks showed, judged by the time of the capture; hostile ones."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.direction import Moment
from captool.tls.certificate import MAX_NAMES, MAX_TEXT, PresentedCertificate, read_certificate
from tests.tls.stacks import CLIENT, NOW, SERVER, contexts, identity, key_ring, read, record, record_refusal

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
DAY_NS = 86_400_000_000_000
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


def summary(wire, ring, ts_ns=NOW_NS):
    conversation, _ = read(wire, ring, mark_times_ns=[ts_ns])
    return conversation.summary()


def der(names=(), organization="o", days=(0, 1)):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, NOW + datetime.timedelta(days=days[0]), NOW + datetime.timedelta(days=days[1])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_both_certificates_of_mutual_tls_12_are_seen_without_any_key():
    server, client = identity(organization="root.named", names=("runner-1", "localhost")), identity(organization="root.<bootstrap>")
    tls = summary(record(*contexts(server=server, client=client)).wire, key_ring())
    assert ("O=root.named", "O=root.named") == (tls.certificate.certificate.subject, tls.certificate.certificate.issuer)
    assert ("runner-1", "localhost") == tls.certificate.certificate.names
    assert tls.certificate_spki_sha256 == tls.certificate.certificate.spki_sha256
    assert r"O=root.\<bootstrap\>" == tls.client_certificate.certificate.subject
    assert ("valid", "valid") == (tls.certificate.validity, tls.client_certificate.validity)
    assert 3650 * DAY_NS == tls.certificate.certificate.not_after_ns - NOW_NS


def test_tls13_certificates_are_seen_once_decrypted():
    recording = record(*contexts(version=V13, client=identity(organization="root.<bootstrap>")))
    closed, opened = summary(recording.wire, key_ring()), summary(recording.wire, key_ring(key_log=recording.key_log))
    assert (None, None) == (closed.certificate, closed.client_certificate)
    assert "O=root.runner-1" == opened.certificate.certificate.subject
    assert r"O=root.\<bootstrap\>" == opened.client_certificate.certificate.subject


def test_resumed_session_shows_no_certificate():
    both = contexts(ciphers="AES128-SHA")
    tls = summary(record(*both, session=record(*both).session).wire, key_ring())
    assert (True, None) == (tls.resumed, tls.certificate)


@pytest.mark.parametrize(
    ("at_days", "validity", "expired_for", "valid_in"),
    [(-3651, "not-yet-valid", 0, 1), (-3650, "valid", 0, 0), (0, "valid", 0, 0), (3650, "valid", 0, 0), (3652, "expired", 2, 0)],
)
def test_the_time_of_the_capture_decides(at_days, validity, expired_for, valid_in):
    tls = summary(record(*contexts()).wire, key_ring(), NOW_NS + at_days * DAY_NS)
    one = tls.certificate
    assert (validity, expired_for * DAY_NS, valid_in * DAY_NS) == (one.validity, one.expired_for_ns, one.valid_in_ns)


@pytest.mark.parametrize("version", [V12, V13])
def test_server_that_refuses_an_expired_client_certificate_is_heard(version):
    """OpenSSL judges by the real clock: this certificate expired long before any run of this test."""
    expired = identity(organization="root.old", days=(-3000, -2000))
    wire = record_refusal(*contexts(client=expired, version=version))
    tls = summary(wire, key_ring(), NOW_NS)
    if version == V13:  # without secrets neither the certificate nor the alert is seen
        assert (None, ()) == (tls.client_certificate, tls.alerts)
    else:
        assert ("expired", 2000 * DAY_NS) == (tls.client_certificate.validity, tls.client_certificate.expired_for_ns)
        assert [("certificate_expired", int(SERVER))] == [(alert.description, alert.direction) for alert in tls.alerts]


def test_texts_and_names_are_bounded():
    one = read_certificate(der(names=[f"name-{n}" for n in range(MAX_NAMES + 7)], organization="o" * 64))
    assert (MAX_NAMES, 7) == (len(one.names), one.more_names)
    long = read_certificate(der(names=["a" * 60_000]))
    assert MAX_TEXT == len(long.names[0])


def test_certificate_that_cannot_be_read_is_none():
    good = der()
    assert read_certificate(b"") is None
    assert read_certificate(good[:-1]) is None


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(data=st.data())
def test_damaged_certificates_raise_nothing(data):
    good = bytearray(DAMAGED)
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    one = read_certificate(bytes(good))
    if one is not None:
        assert PresentedCertificate(one, Moment(1, NOW_NS)).validity in {None, "valid", "expired", "not-yet-valid"}


DAMAGED = der(names=("runner-1", "localhost"))


def test_direction_of_the_client_is_not_mixed_up():
    server, client = identity(organization="root.server"), identity(organization="root.client")
    wire = record(*contexts(server=server, client=client)).wire
    tls = summary([(side.opposite, data) for side, data in wire], key_ring())
    assert ("O=root.server", "O=root.client") == (tls.certificate.certificate.subject, tls.client_certificate.certificate.subject)
    assert {CLIENT, SERVER} == {side for side, _ in wire}
