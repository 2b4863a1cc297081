"""JA3, JA3S and JA4 against their published examples; tshark compares the first two on real captures (tests/oracle)."""

import hashlib
import ssl

import pytest

from captool.tls.fingerprint import GREASE, MAX_REMEMBERED, client_fingerprints
from captool.tls.hello import TLS_1_2, ClientHello, Extension
from tests.tls.stacks import CLIENT, contexts, key_ring, read, record

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
# The example of the specification of JA4, with GREASE put where browsers put it.
SUITES = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
EXTENSIONS = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
ALGORITHMS = "0403,0804,0401,0503,0805,0501,0806,0601"


def ja3(one):
    return client_fingerprints(one).ja3


def ja4(one):
    return client_fingerprints(one).ja4


def numbers(text):
    return [int(one, 16) for one in text.split(",")]


def vector(length_bytes, body):
    return len(body).to_bytes(length_bytes) + body


def hello(extensions=EXTENSIONS, protocol=b"h2", suites=SUITES, **bodies):
    values = dict.fromkeys([0x0A0A, *numbers(extensions), 0x1A1A] if extensions else [], b"")
    known = {
        Extension.SIGNATURE_ALGORITHMS: vector(2, b"".join(n.to_bytes(2) for n in numbers(ALGORITHMS))),
        Extension.SUPPORTED_VERSIONS: vector(1, bytes.fromhex("7a7a03040303")),
        Extension.APPLICATION_PROTOCOLS: vector(2, vector(1, protocol) + vector(1, b"http/1.1")),
        Extension.SUPPORTED_GROUPS: vector(2, bytes.fromhex("2a2a001d00170018")),
        Extension.EC_POINT_FORMATS: vector(1, b"\0"),
    }
    values |= {number: body for number, body in known.items() if number in values} | bodies.get("changed", {})
    return ClientHello(TLS_1_2, bytes(32), b"", (0x3A3A, *(numbers(suites) if suites else ())), values)


def test_ja4_of_the_specifications_example():
    assert "t13d1516h2_8daaf6152771_e5627efa2ab1" == ja4(hello())


def test_ja4_without_signature_algorithms():
    extensions = EXTENSIONS.replace("000d,", "")
    text = ",".join(sorted(one for one in extensions.split(",") if one not in {"0000", "0010"}))
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == ja4(hello(extensions)).split("_")[2]


@pytest.mark.parametrize(
    ("protocol", "shown"),
    [(b"h2", "h2"), (b"http/1.1", "h1"), (b"x", "xx"), (b"\xab", "ab"), (b"\xab\xcd", "ad"), (b"\x30\xab", "3b"),
     (b"\x30\x31\xab\xcd", "3d"), (b"\x30\xab\xcd\x31", "01"), (b"", "00")],
)  # fmt: skip
def test_ja4_protocols_of_the_specification(protocol, shown):
    assert f"t13d1516{shown}" == ja4(hello(protocol=protocol)).split("_")[0]


def test_ja4_of_an_empty_hello():
    assert "t12i000000_000000000000_000000000000" == ja4(hello(extensions="", suites=""))
    assert "t12d000100_000000000000_000000000000" == ja4(hello(extensions="0000", suites=""))


def test_ja3_leaves_grease_out_and_keeps_the_order():
    text = ",".join([
        "771",
        "-".join(str(n) for n in numbers(SUITES)),
        "-".join(str(n) for n in numbers(EXTENSIONS)),
        "29-23-24",
        "0",
    ])  # fmt: skip
    assert hashlib.md5(text.encode()).hexdigest() == ja3(hello())


def test_lists_that_do_not_parse_count_as_none():
    broken = dict.fromkeys((Extension.SUPPORTED_VERSIONS, Extension.SIGNATURE_ALGORITHMS, Extension.SUPPORTED_GROUPS), b"\xff\xff\x01")
    assert ja4(hello(changed=broken)).startswith("t12d1516h2_8daaf6152771_")
    assert 32 == len(ja3(hello(changed=broken)))


def test_grease_is_what_rfc_8701_lists():
    assert {0x0A0A, 0x1A1A, 0x2A2A, 0x3A3A, 0x4A4A, 0x5A5A, 0x6A6A, 0x7A7A} < GREASE
    assert GREASE == {n for n in range(1 << 16) if n & 0xFF == n >> 8 and n & 0xF == 0xA}


def test_long_hello_is_not_remembered_and_the_same():
    long = hello(changed={Extension.SUPPORTED_GROUPS: vector(2, b"\0\x1d" * MAX_REMEMBERED)})
    text = ja3(long), ja4(long)
    assert text == (ja3(long), ja4(long))
    assert ja4(hello()) == text[1]
    assert ja3(hello()) != text[0]


def test_session_has_the_fingerprints_of_its_first_hellos():
    """A HelloRetryRequest makes the client send a second hello, which would give another fingerprint."""
    plain, retried = record(*contexts(version=V13)), record(*contexts(version=V13, curves="secp384r1"))
    first, second = (read(one.wire, key_ring())[0].summary() for one in (plain, retried))
    second_hello = retried.wire[2][1][6:]  # behind a ChangeCipherSpec that means nothing
    assert (CLIENT, 22, 1) == (retried.wire[2][0], second_hello[0], second_hello[5])
    assert (first.ja3, first.ja4) == (second.ja3, second.ja4)
    assert first.ja3s == second.ja3s


def test_without_a_hello_there_is_no_fingerprint():
    conversation, _ = read([(CLIENT, b"\x17\x03\x03\x00\x01x")], key_ring(), from_start=False)
    tls = conversation.summary()
    assert (None, None, None) == (tls.ja3, tls.ja3s, tls.ja4)
