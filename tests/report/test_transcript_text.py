"""Output lines: cut anywhere, hostile, without an end."""

import pytest

from captool.direction import Moment
from captool.dockerapi.exchange import Output
from captool.report.transcript_text import MAX_LINE, TranscriptText
from captool.transcript import Printed
from tables import START, S, connection


def printed(data, stream="stdout", number=0, after=0, exchange=0):
    return Printed(number, Output(stream, data, Moment(1 + after, START + after * S), exchange, "GET /containers/a/logs"))


def lines(*heard):
    return "".join(TranscriptText().render([*heard, connection(), connection(1)])).splitlines()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_whole_however_they_came(size):
    said = b"one\ntwo\r\n\nthree\xc3\xa9\nrest"
    heading, *found = lines(*(printed(said[at : at + size]) for at in range(0, len(said), size)))
    assert heading.startswith("connection 0  ")
    assert heading.endswith("  GET /containers/a/logs")
    assert ["one", "two", "", "three\N{LATIN SMALL LETTER E WITH ACUTE}", "rest"] == [line[22:] for line in found]


def test_streams_and_connections_do_not_mix():
    found = lines(printed(b"a"), printed(b"x", "stderr"), printed(b"b\n"), printed(b"y\n", "stderr"), printed(b"z\n", number=1))
    assert ["stdout  ab", "stderr  xy", "stdout  z"] == [line[14:] for line in found if "  std" in line]
    assert 2 == sum(line.startswith("connection") for line in found)


def test_nothing_acts_on_the_terminal():
    found = lines(printed(b"\x1b]0;owned\x07 \x9b31m \xff\xfe 50%\r100%\n"))
    assert "\\x1b]0;owned\\x07 \\x9b31m \\xff\\xfe 50%\\r100%" == found[1][22:]


def test_line_without_an_end_is_shown_in_parts():
    found = lines(*(printed(b"x" * 1000) for _ in range(20)))
    assert 20_000 == sum(len(line[22:]) for line in found[1:])
    assert all(len(line[22:]) <= MAX_LINE for line in found[1:])
