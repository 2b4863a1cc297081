"""Why a connection stays closed: each reason has a remedy, and none that breaks a program."""

from typing import get_args

from captool.direction import PerDirection
from captool.findings.decryption import CODES, REMEDIES, not_decrypted
from captool.findings.finding import CODES as FINDING_CODES
from captool.tls.summary import Alert, Reason
from tables import START, connection, tables, tcp, tls


def test_every_reason_has_a_remedy():
    assert set(get_args(Reason)) == set(REMEDIES)


def test_codes_are_known_findings():
    assert set(CODES.values()) <= set(FINDING_CODES)


def test_no_remedy_sets_a_variable_that_stops_go_programs():
    assert not [text for text in REMEDIES.values() if "tlsrsakex" in text]


def test_forward_secrecy_names_the_suite_and_counts_the_connections():
    closed = tls(status="encrypted", reason="forward-secrecy", cipher_suite="TLS_AES_128_GCM_SHA256", detail="TLS 1.3 ...")
    first, second = not_decrypted(tables(connection(tls=closed), connection(tcp(id=1), tls=closed)))
    assert ("forward-secrecy", "warning", 0) == (first.code, first.severity, first.connection)
    assert 2 == second.evidence["connections_concerned"]
    assert "session keys" in first.remedy


def test_without_keys_forward_secrecy_is_for_information():
    closed = tls(status="encrypted", reason="forward-secrecy")
    (finding,) = not_decrypted(tables(connection(tls=closed), keys_given=False))
    assert "info" == finding.severity


def test_decrypted_connection_gives_no_finding():
    assert [] == list(not_decrypted(tables(connection(tls=tls()))))


def test_a_key_log_that_ends_with_a_refused_handshake_is_the_right_one():
    """OpenSSL as a server logs no CLIENT_TRAFFIC_SECRET_0 where it refuses the client's certificate."""
    closed = tls(
        status="encrypted", reason="no-matching-session-key", plaintext_bytes=PerDirection(0, 0),
        alerts=(Alert(1, "fatal", "certificate_expired", 9, START),),
    )  # fmt: skip
    (finding,) = not_decrypted(tables(connection(tls=closed)))
    assert finding.remedy.startswith("Nothing to decrypt: the handshake was refused")
    for other in (closed._replace(alerts=()), closed._replace(secret_origin=None), closed._replace(plaintext_bytes=PerDirection(0, 9))):
        (finding,) = not_decrypted(tables(connection(tls=other)))
        assert finding.remedy.startswith("Give the key log")


def test_a_session_that_ends_in_its_handshake_was_recorded_from_its_beginning():
    closed = tls(status="encrypted", reason="handshake-not-captured", detail="The handshake broke off.", ja3="ab" * 16)
    (finding,) = not_decrypted(tables(connection(tls=closed)))
    assert finding.remedy.startswith("Nothing to decrypt")
    (finding,) = not_decrypted(tables(connection(tls=closed._replace(ja3=None))))
    assert finding.remedy.startswith("Start recording before")
