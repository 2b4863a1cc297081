"""Certificates say what cryptography reads in them, whoever made them."""

import datetime
import hashlib
import ipaddress
import ssl
import warnings
from functools import cache, partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.errors import DecodeError
from captool.keys.certificate import CLIENT_AUTH, DNS_NAME, EXTENSIONS, CertificateFields, parse_certificate
from captool.keys.der import OCTET_STRING, SEQUENCE, elements, encoded, sequence
from tests.growth import PROPORTIONATE, growth

FIXTURES = Path(__file__).parents[2] / "fixtures"
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
REFUSALS = (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
            x509.UnsupportedGeneralNameType)  # fmt: skip
OF_ANY_TEXT = [NameOID.COMMON_NAME, NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.ORGANIZATION_NAME, NameOID.STREET_ADDRESS,
               NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.USER_ID, NameOID.PSEUDONYM]  # fmt: skip


def as_cryptography_reads(der):
    """The slow twin. Raises one of `REFUSALS` for what cryptography does not read whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = x509.load_der_x509_certificate(der)
        organizations = [attribute.value for attribute in one.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        try:
            names = list(one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            names = []
        try:
            purposes = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            purposes = []
        key = one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key not in der:
            raise ValueError("cryptography writes a point in hybrid form anew (X9.62 4.3.6)")
        addresses = [str(name.value) for name in names if isinstance(name, x509.IPAddress)]
        return CertificateFields(
            hashlib.sha256(key).hexdigest(),
            organizations[0] if organizations else None,
            one.subject.rfc4514_string(),
            one.issuer.rfc4514_string(),
            tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)),
            addresses[0] if addresses else None,
            frozenset(purpose.dotted_string for purpose in purposes),
            int(one.not_valid_before_utc.timestamp()) * 1_000_000_000,
            int(one.not_valid_after_utc.timestamp()) * 1_000_000_000,
        )


@cache
def key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())


def made(subject, issuer=None, names=(), days=(0, 1), kind="ec", purposes=()):
    builder = x509.CertificateBuilder(
        issuer or subject, subject, key(kind).public_key(), 7, NOW + datetime.timedelta(days[0]), NOW + datetime.timedelta(days[1])
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    return builder.sign(key(kind), None if kind == "ed25519" else hashes.SHA256()).public_bytes(Encoding.DER)


def named(*attributes):
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def certificates():
    found = {}
    for file in sorted(FIXTURES.rglob("*.pem")):
        if "BEGIN CERTIFICATE" in (text := file.read_text()):
            der = ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :].partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----")
            found[hashlib.sha256(der).digest()] = der
    return list(found.values())


def test_those_of_the_fixtures():
    all_of_them = certificates()
    assert len(all_of_them) > 10
    for der in all_of_them:
        assert as_cryptography_reads(der) == parse_certificate(der)


texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"+,;<># =\0'), min_size=1, max_size=12)


@given(
    st.lists(st.tuples(st.sampled_from(OF_ANY_TEXT), texts), max_size=5),
    st.lists(texts.map(lambda text: x509.NameAttribute(NameOID.COMMON_NAME, text)), min_size=1, max_size=3, unique_by=lambda one: one.value),
)
def test_names_of_every_kind(attributes, several):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        der = made(named(*attributes), x509.Name([x509.RelativeDistinguishedName(several)]))
    assert as_cryptography_reads(der) == parse_certificate(der)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_alternative_names_and_keys_of_every_kind(kind):
    names = [
        x509.RFC822Name("root@example.org"), x509.DNSName("runner-1"), x509.IPAddress(ipaddress.ip_address("10.77.2.2")), x509.DNSName("*.x"),
        x509.IPAddress(ipaddress.ip_address("::ffff:10.0.0.1")), x509.UniformResourceIdentifier("https://x"), x509.DirectoryName(named()),
    ]  # fmt: skip
    der = made(named((NameOID.ORGANIZATION_NAME, "root")), names=names, kind=kind)
    said = parse_certificate(der)
    assert as_cryptography_reads(der) == said
    assert (("runner-1", "10.77.2.2", "*.x", "::ffff:a00:1"), "10.77.2.2") == (said.names, said.ip)


def test_purposes():
    der = made(named((NameOID.COMMON_NAME, "x")), purposes=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING])
    assert {CLIENT_AUTH, "1.3.6.1.5.5.7.3.3"} == parse_certificate(der).purposes
    assert as_cryptography_reads(der) == parse_certificate(der)


def test_attributes_of_plain_text():
    der = made(named((NameOID.COUNTRY_NAME, "CH"), (NameOID.SERIAL_NUMBER, "7"), (NameOID.DOMAIN_COMPONENT, "x"), (NameOID.EMAIL_ADDRESS, "a@b")))
    assert "1.2.840.113549.1.9.1=a@b,DC=x,2.5.4.5=7,C=CH" == parse_certificate(der).subject == as_cryptography_reads(der).subject


@pytest.mark.parametrize("encoding", [(12, "utf-8"), (19, "ascii"), (22, "ascii"), (28, "utf-32-be"), (30, "utf-16-be")])
def test_texts_in_every_encoding(encoding):
    tag, codec = encoding
    text = "Zug" if codec == "ascii" else "Zürich"
    content = text.encode(codec)
    der = made(named((NameOID.ORGANIZATION_NAME, "x" * len(content))))
    changed = der.replace(bytes((12, len(content))) + b"x" * len(content), bytes((tag, len(content))) + content)
    assert (text, f"O={text}") == (parse_certificate(changed).organization, parse_certificate(changed).subject)
    assert as_cryptography_reads(changed) == parse_certificate(changed)


@pytest.mark.parametrize("days", [(-40_000, 1), (-27_000, 8000), (0, 8800), (0, 2_900_000)])
def test_times_of_either_form(days):
    der = made(named((NameOID.COMMON_NAME, "x")), days=(max(days[0], -27_000), days[1]))
    assert as_cryptography_reads(der) == parse_certificate(der)


def test_a_time_that_does_not_exist_is_not_known():
    der = made(named((NameOID.COMMON_NAME, "x")))
    assert 2 == der.count(b"\x17\x0d2611")
    said = parse_certificate(der.replace(b"\x17\x0d261101", b"\x17\x0d261301"))
    assert (None, None, "CN=x") == (said.not_before_ns, said.not_after_ns, said.subject)


def test_a_text_that_is_none_leaves_the_rest():
    der = made(named((NameOID.COMMON_NAME, "xyz")))
    said = parse_certificate(der.replace(b"xyz", b"\xff\xff\xff"))
    assert ("", "", parse_certificate(der).spki_sha256) == (said.subject, said.issuer, said.spki_sha256)


BROKEN = made(named((NameOID.ORGANIZATION_NAME, "root"), (NameOID.COMMON_NAME, "x")), names=[x509.DNSName("runner-1"), x509.DNSName("y")],
              purposes=[ExtendedKeyUsageOID.SERVER_AUTH])  # fmt: skip


@settings(max_examples=4 * settings.default.max_examples, deadline=None)
@given(data=st.data())
def test_damaged_ones_never_say_what_cryptography_does_not_read(data):
    der = bytearray(BROKEN)
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        said = parse_certificate(bytes(der))
    except DecodeError:
        said = None
    try:
        expected = as_cryptography_reads(bytes(der))
    except REFUSALS:
        return
    for field, one in (said._asdict() if said else {}).items():  # cryptography takes a time or bytes for a text; no authority writes such
        assert not one or one == getattr(expected, field), field


def crowded(where, count):
    """`BROKEN` with so many names in its subject, alternative names, or extensions that nobody knows."""
    whole = sequence(BROKEN)
    fields = elements(whole[0].content)
    if where == "subject":
        (name,) = elements(fields[5].content)[:1]
        fields[5] = fields[5]._replace(encoded=encoded(SEQUENCE, name.encoded * count))
    else:
        names = encoded(SEQUENCE, encoded(DNS_NAME, b"x") * count)
        known = encoded(SEQUENCE, bytes.fromhex("0603551d11") + encoded(OCTET_STRING, names))
        strange = encoded(SEQUENCE, bytes.fromhex("0603551d7f") + encoded(OCTET_STRING, b""))
        fields[-1] = fields[-1]._replace(encoded=encoded(EXTENSIONS, encoded(SEQUENCE, known if where == "names" else strange * count)))
    return encoded(SEQUENCE, encoded(SEQUENCE, b"".join(one.encoded for one in fields)) + b"".join(one.encoded for one in whole[1:]))


@pytest.mark.parametrize("where", ["subject", "names", "extensions"])
def test_what_a_certificate_is_crowded_with_takes_time_in_proportion(where):
    assert growth(lambda count: partial(parse_certificate, crowded(where, count)), 4000) < PROPORTIONATE
    said = parse_certificate(crowded(where, 3))
    assert {"subject": "O=root,O=root,O=root", "names": ("x", "x", "x"), "extensions": ()}[where] == getattr(said, "names" if where != "subject" else where)
