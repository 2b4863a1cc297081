"""Certificates that had expired when they were presented, and those that were not valid yet."""


import pytest

from captool.direction import Moment
from captool.findings import find
from captool.findings.certificates import certificate_expired
from captool.tls.certificate import Certificate, PresentedCertificate
from captool.tls.summary import Alert
from tables import START, S, connection, tables, tls

DAY = 86_400 * S
VALID = Certificate("ab" * 32, "cd" * 32, "root.runner-1", "O=root.runner-1", "O=root", ("localhost",), 0, START - DAY, START + DAY)


def presented(packet=4, **changes):
    return PresentedCertificate(VALID._replace(**changes), Moment(packet, START))


def found(**changes):
    return list(certificate_expired(tables(connection(tls=tls(**changes)))))


def test_expired_server_certificate_with_how_long():
    (finding,) = found(certificate=presented(not_after_ns=START - 3 * DAY))
    assert ("warning", "high", (4,)) == (finding.severity, finding.confidence, finding.packets)
    assert (
        "The server's certificate (O=root.runner-1, issued by O=root) had expired 259200.0 s (3 d) before it was presented in packet 4, "
        "by the capture's clock." == finding.message
    )
    assert "regenerate-certs" in finding.remedy
    assert 259200.0 == finding.evidence["expired_for_s"]


def test_not_yet_valid_points_to_the_clocks():
    (finding,) = found(certificate=presented(not_before_ns=START + 300 * S))
    assert "becomes valid only 300.0 s (5 min) after it was presented" in finding.message
    assert finding.remedy.startswith("Compare the clocks")


def test_refused_client_certificate_is_an_error():
    alerts = (Alert(1, "fatal", "bad_certificate", 7, START + S),)
    (finding,) = found(client_certificate=presented(not_after_ns=START - DAY), alerts=alerts)
    assert ("error", (4, 7)) == (finding.severity, finding.packets)
    assert "The client's certificate" in finding.message
    assert finding.message.endswith("The server answered with the alert bad_certificate (packet 7).")


@pytest.mark.parametrize(
    "alert",
    [
        Alert(0, "fatal", "bad_certificate", 7, START),
        Alert(1, "fatal", "handshake_failure", 7, START),
        Alert(1, "fatal", "bad_certificate", 3, START),
    ],
)
def test_other_alerts_are_not_taken_for_the_answer(alert):
    (finding,) = found(client_certificate=presented(not_after_ns=START - DAY), alerts=(alert,))
    assert ("warning", None) == (finding.severity, finding.evidence["alert"])


def test_valid_or_unreadable_validity_is_no_finding():
    assert [] == found(certificate=presented(), client_certificate=presented(not_before_ns=None))
    assert [] == found()


def test_both_sides_are_judged_and_the_rule_is_in_force():
    both = tls(certificate=presented(not_after_ns=START - DAY), client_certificate=presented(not_after_ns=START - DAY))
    assert ["certificate-expired"] * 2 == [finding.code for finding in find(tables(connection(tls=both)))]
