"""Fatal alerts: who refused what, and what to change. The alerts are those that docker 28, curl, OpenSSL and GnuTLS were seen to send."""

import pytest

from captool.direction import Moment, PerDirection
from captool.findings.alerts import MEANINGS, REMEDIES, tls_alert
from captool.tls.alerts import DESCRIPTIONS
from captool.tls.certificate import Certificate, PresentedCertificate
from captool.tls.summary import Alert, SealedAlert
from tables import START, S, connection, tables, tcp, tls


def presented(*, names=("10.0.0.2", "localhost"), days=(-10, 10)):
    begin, end = (START + day * 86400 * S for day in days)
    return PresentedCertificate(Certificate("ab" * 32, "cd" * 32, "root.runner-1", "O=root.runner-1", "O=root.ca", names, 0, begin, end), Moment(6, START))


def found(alert, sender=0, **changes):
    """The only finding about a session that one side (0: the client) broke off with this alert."""
    alerts = (Alert(1 - sender, "warning", "close_notify", 7, START), Alert(sender, "fatal", alert, 8, START))
    (finding,) = tls_alert(tables(connection(tls=tls(alerts=alerts, **changes))))
    assert ("tls-alert", "error", (8,)) == (finding.code, finding.severity, finding.packets)
    return finding


def test_names_are_those_of_the_registry():
    assert {*MEANINGS, *REMEDIES} <= set(DESCRIPTIONS.values())


def test_only_fatal_alerts_are_findings():
    assert "The client broke the TLS session off with the alert internal_error (packet 8)." == found("internal_error").message


@pytest.mark.parametrize("alert", ["bad_certificate", "unknown_ca", "certificate_unknown"])
def test_a_client_that_does_not_trust_the_servers_authority(alert):
    finding = found(alert, certificate=presented())
    assert "is for 10.0.0.2, where the client went: what is left, as a rule, is that authority." in finding.message
    assert "issued by O=root.ca" in finding.message
    assert "Give the client the certificate of the authority that issued the server's (docker: --tlscacert" in finding.remedy


@pytest.mark.parametrize(("name", "asked"), [("runner-1.example.org", "runner-1.example.org"), ("*.example.org", "Runner-1.example.org.")])
def test_a_certificate_for_the_name_that_was_asked_for(name, asked):
    assert f"is for {asked}, where" in found("unknown_ca", certificate=presented(names=(name,)), server_name=asked).message


@pytest.mark.parametrize(("names", "said"), [(("10.0.0.9", "other"), "for 10.0.0.9, other"), ((), "for no name or address"), (("*.77.2.2",), "for *.77.2.2")])
def test_a_certificate_for_somebody_else(names, said):
    finding = found("bad_certificate", certificate=presented(names=names), server_name=None if names != ("*.77.2.2",) else "a.b.77.2.2")
    assert f"is valid, and is {said}; the client went to " in finding.message


@pytest.mark.parametrize(("days", "said"), [((-20, -10), "and had expired."), ((1, 10), "and was not valid yet.")])
def test_a_certificate_out_of_its_time(days, said):
    finding = found("bad_certificate", certificate=presented(days=days))
    assert finding.message.endswith(said)
    assert finding.remedy.startswith("Renew the server's certificate")


def test_the_clients_certificate_is_not_held_against_where_it_went():
    finding = found("unknown_ca", sender=1, client_certificate=presented(names=()), certificate=presented(days=(-9, -8)))
    assert finding.message.endswith("authority that issued the client's certificate. The certificate was issued by O=root.ca.")


def test_a_server_that_wants_a_certificate():
    finding = found("certificate_required", sender=1)
    assert "wants a certificate, and the client showed none" in finding.message
    assert finding.remedy.startswith("Give the client a certificate")


def sealed(sender, **changes):
    ended = tcp(close="fin", payload_bytes=PerDirection(300, 300), acknowledged_offset=PerDirection(300, 300), start_ns=START)
    alert = SealedAlert(sender, 8, START + S // 10, 300)
    return list(tls_alert(tables(connection(ended._replace(**changes), tls=tls(status="encrypted", reason="forward-secrecy", sealed_alert=alert)))))


@pytest.mark.parametrize(("sender", "side", "confidence"), [(0, "client", "high"), (1, "server", "medium")])
def test_a_sealed_refusal(sender, side, confidence):
    (finding,) = sealed(sender)
    assert ("error", confidence, side) == (finding.severity, finding.confidence, finding.evidence["sender"])
    assert f"The {side} broke the TLS 1.3 handshake off: it sent a record of the length of an alert (packet 8)" in finding.message
    assert "captool record --session-keys auto" in finding.remedy


@pytest.mark.parametrize("sender", [0, 1])
def test_what_goes_on_was_not_refused(sender):
    assert [] == sealed(sender, payload_bytes=PerDirection(301, 301), acknowledged_offset=PerDirection(301, 301))
    assert [] == sealed(sender, close="open")
    assert sealed(sender, payload_bytes=PerDirection(330, 330))  # sent again


def test_a_server_that_closes_later_did_not_refuse():
    assert [] == sealed(1, start_ns=START - 3 * S)
    assert sealed(0, start_ns=START - 3 * S)
