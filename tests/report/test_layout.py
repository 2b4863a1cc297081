"""Lines and columns of the text report."""

import click
from hypothesis import given
from hypothesis import strategies as st

from captool.report.layout import columns, cut, labelled, styled, table, wrapped

WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)


def test_lines_break_at_spaces_and_long_words_anywhere():
    assert ["one two", "three"] == list(wrapped("one two three", 8))
    assert ["ab", "abcdefghi", "jkl"] == list(wrapped("ab abcdefghijkl", 9))
    assert [""] == list(wrapped("", 9))


def test_spaces_between_words_stay_unless_a_line_ends_there():
    assert ["a  [b]"] == list(wrapped("a  [b]", 6))
    assert ["a", "[b]"] == list(wrapped("a  [b]", 5))


def test_styles_take_no_room_and_wide_characters_take_two_columns():
    assert 5 == columns(styled("error", "error"))
    assert 4 == columns("日本")
    assert 1 == columns("e\N{COMBINING ACUTE ACCENT}")
    assert [2, 2, 2] == [columns(line) for line in wrapped("日本語", 3)]


@given(st.lists(WORDS, max_size=8), st.integers(2, 30), st.sampled_from([None, "error", "dim"]))
def test_no_line_is_too_long_and_nothing_is_lost(words, width, style):
    text = " ".join(words)
    lines = [click.unstyle(line) for line in wrapped(styled(text, style) if style else text, width)]
    assert all(columns(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_text_that_does_not_fit_ends_with_an_ellipsis():
    assert "GET /a b" == cut("GET /a b", 8)
    assert "GET /a…" == cut("GET /a b", 7)
    assert "日…" == cut("日本語", 4)


def test_labels_stand_before_the_first_line_of_their_text():
    assert ["  a   one two", "      three", "  bc  four"] == list(labelled([("a", "one two three"), ("bc", "four")], 14))


def test_columns_of_a_table_are_as_wide_as_their_widest_cell():
    rows = [("1", "a", "first"), ("22", "bcd", "a second that is too long")]
    assert ["  1   a    first", "  22  bcd  a second that is to…"] == list(table(rows, 31))


def test_rows_of_a_table_are_wrapped_where_no_room_is_left():
    rows = [("1", "a", "first"), ("22", "bcd", "a second that is too long")]
    assert ["  1   a  first", "  22  bcd  a second", "      that is too long"] == list(table(rows, 22))
    assert ["  1  three", "     words", "     here"] == list(table([("1", "three words here", "")], 11))


def test_a_style_ends_with_its_line_and_begins_again_with_the_next():
    assert [styled("one two", "error"), styled("three", "error") + " x"] == list(wrapped(styled("one two three", "error") + " x", 7))


def test_marks_that_stand_on_a_character_take_no_column():
    assert 2 == columns("กี้ก")  # Thai: a vowel and a tone above the first consonant
    assert 2 == columns("नुन")  # Devanagari: a vowel below
