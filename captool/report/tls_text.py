"""Certificates and fingerprints of a TLS session for a terminal. What a certificate says is a stranger's text."""

from collections.abc import Iterator
from typing import Final

from captool.report.printable import printable, utc
from captool.tls.certificate import PresentedCertificate
from captool.tls.summary import TlsSummary

NAMES: Final = 6


def certificate_rows(tls: TlsSummary) -> Iterator[tuple[str, str]]:
    """A row for the certificate of the server and of the client, where they were seen."""
    if tls.certificate:
        yield "certificate", _certificate("server", tls.certificate)
    if tls.client_certificate:
        yield "" if tls.certificate else "certificate", _certificate("client", tls.client_certificate)


def fingerprint_rows(tls: TlsSummary) -> Iterator[tuple[str, str]]:
    """The fingerprints of the hellos, where they were seen."""
    known = [(name, value) for name, value in (("JA3", tls.ja3), ("JA4", tls.ja4), ("JA3S", tls.ja3s)) if value]
    if known:
        yield "hellos", ", ".join(f"{name} {value}" for name, value in known)


def _certificate(side: str, presented: PresentedCertificate) -> str:
    one = presented.certificate
    text = f"{side} {one.subject or 'without a subject'}"
    if one.names:
        more = len(one.names) - NAMES + one.more_names
        text += f" for {', '.join(one.names[:NAMES])}" + (f" and {more} more" if more > 0 else "")
    text += f", issued by {one.issuer or 'nobody named'}"
    if one.not_before_ns is not None and one.not_after_ns is not None:
        text += f", valid from {utc(one.not_before_ns)[:16]} to {utc(one.not_after_ns)[:16]} UTC"
    return printable(f"{text}; packet {presented.moment.packet}")
