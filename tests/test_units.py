"""Durations and sizes for people."""

import pytest

from captool.units import counted, missing_output, parse_duration, parse_size, seconds, size, size_between


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(0, "0 s"), (12, "12 ns"), (999_600_000, "1.00 s"), (35_000_000, "35 ms"), (1_500_000, "1.5 ms"), (24_950_000_000, "24.95 s"), (601_200_000_000, "601.2 s (10 min 1 s)"),
     (86_400_000_000_000, "86400.0 s (1 d)")],
)  # fmt: skip
def test_seconds_are_readable_at_every_scale(duration_ns, text):
    assert text == seconds(duration_ns)


@pytest.mark.parametrize(("count", "text"), [(1, "1 byte"), (162, "162 bytes"), (18001, "18.0 kB"), (999_960, "1.0 MB"), (1_700_000_000, "1.7 GB")])
def test_sizes_use_decimal_units(count, text):
    assert text == size(count)


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [(48, 48, "48 bytes"), (0, 48, "at most 48 bytes"), (1, 48, "between 1 and 48 bytes"), (900, 1200, "between 900 bytes and 1.2 kB"), (1200, 1700, "between 1.2 and 1.7 kB"),
     (1201, 1203, "between 1,201 and 1,203 bytes")],
)  # fmt: skip
def test_amounts_known_within_bounds_say_so(least, most, text):
    assert text == size_between(least, most)


def test_counted_agrees_with_its_noun():
    assert ("1 packet", "2 packets", "1,000 packets") == (counted(1, "packet"), counted(2, "packet"), counted(1000, "packet"))


def test_what_does_not_fit_into_64_bits_is_refused_in_words():
    with pytest.raises(ValueError, match="'99999999h' is longer than a hundred years"):
        parse_duration("99999999h")
    with pytest.raises(ValueError, match="'9999999999TB' is larger than any disk"):
        parse_size("9999999999TB")
    assert 36_500 * 86_400 * 10**9 == parse_duration("36500d")


@pytest.mark.parametrize(
    ("missing", "stdout", "stderr", "said"),
    [
        (None, 0, 0, ""),
        (None, 1, 0, "at least 1 byte of stdout"),
        ((48, 48), 0, 0, "48 bytes of the stream"),
        ((2920, 2920), 2000, 920, "2,000 bytes of stdout and 920 bytes of stderr"),
        ((0, 9000), 0, 40, "at most 9.0 kB of the stream, 40 bytes of stderr among them"),
    ],
)
def test_missing_output_has_its_stream_where_that_is_known(missing, stdout, stderr, said):
    assert said == missing_output(missing, stdout, stderr)
