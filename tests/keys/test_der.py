"""DER has one way to write everything; what is written otherwise is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captool.errors import DecodeError
from captool.keys.der import (
    INTEGER,
    OBJECT_IDENTIFIER,
    SEQUENCE,
    Element,
    elements,
    encoded,
    encoded_number,
    number,
    object_identifier,
    sequence,
)


@given(st.lists(st.tuples(st.sampled_from([0x02, 0x30, 0xA3]), st.binary(max_size=70_000)), max_size=4))
def test_what_is_written_is_read(rows):
    data = b"".join(encoded(tag, content) for tag, content in rows)
    assert rows == [(one.tag, one.content) for one in elements(data)]
    assert data == b"".join(one.encoded for one in elements(data))


@pytest.mark.parametrize(
    "data",
    [
        b"\x30",  # no length
        b"\x30\x01",  # shorter than it says
        b"\x30\x81\x01\x00",  # a long form of a short length
        b"\x30\x82\x00\x80" + bytes(128),  # a length with a zero in front
        b"\x30\x80\x00\x00",  # a length that is not definite
        b"\x30\x85\x01\x00\x00\x00\x00",  # 4 GiB
        b"\x30\x84\xff\xff\xff\xff",
        b"\x1f\x81\x01\x00",  # a tag of several bytes
        b"\x02\x01\x00\x00",  # something behind it
    ],
)
def test_other_ways_to_write_are_refused(data):
    with pytest.raises(DecodeError):
        elements(data)


@given(st.integers(0, 1 << 4200))
def test_numbers(value):
    (one,) = elements(encoded_number(value))
    assert value == number(one)


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\xff\x80"])
def test_numbers_in_another_form(content):
    with pytest.raises(DecodeError):
        number(Element(INTEGER, content, b""))


@pytest.mark.parametrize(
    ("content", "dotted"),
    [("550403", "2.5.4.3"), ("2a864886f70d010101", "1.2.840.113549.1.1.1"), ("0992268993f22c640119", "0.9.2342.19200300.100.1.25"),
     ("883703", "2.999.3"), ("27", "0.39"), ("28", "1.0"), ("4f", "1.39"), ("50", "2.0")],
)  # fmt: skip
def test_object_identifiers(content, dotted):
    assert dotted == object_identifier(Element(OBJECT_IDENTIFIER, bytes.fromhex(content), b""))


@pytest.mark.parametrize("content", ["", "80", "8001", "5580", "558001", "01" * 64])
def test_object_identifiers_that_are_none(content):
    with pytest.raises(DecodeError):
        object_identifier(Element(OBJECT_IDENTIFIER, bytes.fromhex(content), b""))


def test_a_sequence_is_the_only_one_and_of_the_form_that_was_expected():
    row = encoded(SEQUENCE, encoded_number(7) + encoded_number(8))
    assert [7, 8] == [number(one) for one in sequence(row, INTEGER)]
    for data, tags in ((row + row, ()), (encoded_number(7), ()), (row, (OBJECT_IDENTIFIER,)), (row, (INTEGER, INTEGER, INTEGER))):
        with pytest.raises(DecodeError):
            sequence(data, *tags)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data):
    for read in (elements, sequence):
        try:
            read(data)
        except DecodeError:
            continue
