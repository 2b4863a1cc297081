"""Nothing from a stranger acts on the terminal."""

import os

from hypothesis import given
from hypothesis import strategies as st

from captool.report.printable import clock, iso, printable, printable_bytes, utc


def test_escape_sequences_become_text():
    assert "\\x1b]0;owned\\x07" == printable("\x1b]0;owned\x07")


def test_letters_of_all_languages_stay():
    assert "größer → 日本" == printable("größer → 日本")


def test_bidirectional_overrides_are_shown():
    assert "\\u202e" in printable("\u202egpj.exe")


def test_bytes_of_names_that_are_no_text_are_shown_as_bytes():
    assert "bad\\xff.pcap" == printable(os.fsdecode(b"bad\xff.pcap"))


@given(st.binary())
def test_no_control_character_survives(data):
    assert printable_bytes(data).isprintable() or not data


def test_times_are_utc_with_all_digits():
    assert "2026-11-23T03:36:40.123456789Z" == iso(1795405000123456789)
    assert "2026-11-23 03:36:40.123" == utc(1795405000123999999)
    assert "03:36:40.123" == clock(1795405000123999999)


def test_a_hostile_timestamp_is_shown_and_not_raised():
    assert "9999-12-31T23:59:59.000000000Z" == iso(10**25)
