"""Certificates and fingerprints in the report: where asked for or where something is wrong, and nothing hostile through."""

import json
import re

from captool.direction import Moment
from captool.report.json_report import render as render_json
from captool.report.json_report import report
from captool.report.text import render
from captool.tls.certificate import Certificate, PresentedCertificate
from json_schema import conforms
from tables import START, S, analysis, connection, tls
from tests.report.test_json_report import SCHEMA

DAY = 86_400 * S
SERVER = Certificate(
    "ab" * 32, "cd" * 32, "root.runner-1", "O=root.runner-1", "O=root", ("10.0.0.2", "localhost"), 0, START - DAY, START + DAY
)


def seen(**changes):
    return PresentedCertificate(SERVER._replace(**changes), Moment(4, START))


def page(one, **asked):
    return re.sub(r"\s+", " ", render(analysis(one), width=400, **asked))


def test_single_connection_shows_certificates_and_fingerprints():
    session = tls(
        certificate=seen(), client_certificate=seen(subject="O=root.<bootstrap>", names=()), ja3="a" * 32, ja4="t12i", ja3s="b" * 32
    )
    text = page(connection(tls=session), connection=0)
    assert (
        "certificate server O=root.runner-1 for 10.0.0.2, localhost, issued by O=root, valid from 2023-11-13 22:13 to 2023-11-15 22:13 UTC; packet 4"
        in text
    )
    assert "client O=root.<bootstrap>, issued by O=root, valid" in text
    assert f"hellos JA3 {'a' * 32}, JA4 t12i, JA3S {'b' * 32}" in text


def test_overview_shows_only_the_certificate_that_matters():
    assert "issued by" not in page(connection(tls=tls(certificate=seen(), ja3="a" * 32)))
    text = page(connection(tls=tls(certificate=seen(not_after_ns=START - S), ja3="a" * 32)))
    assert "valid from 2023-11-13 22:13 to 2023-11-14 22:13 UTC" in text
    assert "[certificate-expired, confidence high]" in text
    assert "JA3" not in text


def test_hostile_certificate_cannot_act_on_the_terminal():
    evil = seen(
        subject="O=\x1b]0;owned\x07", issuer="O=\u202e[red]x[/red]", names=("\x1b[2J\r\nerror all is lost",), not_after_ns=START - S
    )
    session = tls(certificate=evil, client_certificate=evil)
    for asked in ({}, {"connection": 0}):
        text = render(analysis(connection(tls=session)), **asked)
        assert not [character for character in text if (ord(character) < 32 and character != "\n") or character == "\u202e"]
    assert "[red]x[/red]" in page(connection(tls=session))
    assert render_json(analysis(connection(tls=session))).isascii()


def test_names_beyond_the_first_are_counted():
    assert "and 61 more" in page(connection(tls=tls(certificate=seen(names=tuple("abcdefgh"), more_names=59))), connection=0)


def test_json_has_the_certificates_and_keeps_to_the_schema():
    values = json.loads(json.dumps(report(analysis(connection(tls=tls(certificate=seen(not_before_ns=None), ja3="a" * 32))))))
    conforms(values, SCHEMA)
    session = values["connections"][0]["tls"]
    assert (None, "2023-11-15T22:13:20.000000000Z", None, 4) == tuple(
        session["certificate"][name] for name in ("not_before", "not_after", "validity", "packet")
    )
    assert (None, "a" * 32) == (session["client_certificate"], session["ja3"])
