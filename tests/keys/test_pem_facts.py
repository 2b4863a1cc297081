"""Certificates and keys that break the rules are sentences, not tracebacks."""

import base64

import pytest

from captool.keys.pem_facts import PemError, read_certificate


def armoured(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def test_a_certificate_of_an_unknown_version_is_refused_in_a_line(fixtures):
    pem = (fixtures / "ecdhe-key-log" / "machines" / "runner-1" / "server.pem").read_bytes()
    der = base64.b64decode(pem.split(b"-----")[2])
    assert 1 == der.count(b"\xa0\x03\x02\x01\x02")
    assert read_certificate(armoured(der)).spki_sha256
    with pytest.raises(PemError, match=r"no usable certificate.*version"):
        read_certificate(armoured(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x28")))
