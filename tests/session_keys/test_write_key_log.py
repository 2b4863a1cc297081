"""Where the arguments of writeKeyLog are, by architecture and release of Go."""

from types import SimpleNamespace

import pytest

from captool.goprogram.build_info import GoBuild
from captool.goprogram.elf import ProgramError
from captool.session_keys.write_key_log import fetch_arguments


def arguments(version, architecture="amd64", word_bytes=8):
    return fetch_arguments(SimpleNamespace(architecture=architecture, word_bytes=word_bytes, path="p"), GoBuild(version, None, {}))


@pytest.mark.parametrize(
    ("version", "architecture", "expected"),
    [
        ("go1.24.3", "amd64", "ll=%cx:u64 l=+0(%bx):x8[32] rl=%si:u64 r=+0(%di):x8[32] sl=%r10:u64 s=+0(%r9):x8[48]"),
        ("go1.17", "amd64", "ll=%cx:u64 l=+0(%bx):x8[32] rl=%si:u64 r=+0(%di):x8[32] sl=%r10:u64 s=+0(%r9):x8[48]"),
        ("go1.18.1", "arm64", "ll=%x2:u64 l=+0(%x1):x8[32] rl=%x4:u64 r=+0(%x3):x8[32] sl=%x7:u64 s=+0(%x6):x8[48]"),
        (
            "go1.16.5",
            "amd64",
            "ll=+24($stack):u64 l=+0(+16($stack)):x8[32] rl=+40($stack):u64 r=+0(+32($stack)):x8[32] "
            "sl=+64($stack):u64 s=+0(+56($stack)):x8[48]",
        ),
        ("go1.11.5", "amd64", "rl=+24($stack):u64 r=+0(+16($stack)):x8[32] sl=+48($stack):u64 s=+0(+40($stack)):x8[48]"),
    ],
)
def test_arguments_by_release(version, architecture, expected):
    assert expected == arguments(version, architecture)


@pytest.mark.parametrize(("version", "architecture"), [("go1.17", "arm64"), ("go1.17.1 X:noregabi", "amd64"), ("go1.12", "amd64")])
def test_calls_on_the_stack(version, architecture):
    assert "+16($stack)" in arguments(version, architecture)


@pytest.mark.parametrize(
    ("version", "architecture", "word_bytes", "said"),
    [
        ("go1.24", "386", 4, "not of 386"),
        ("go1.24", "s390x", 8, "not of s390x"),
        ("devel +1234", "amd64", 8, "is no Go release"),
    ],
)
def test_what_is_not_known_is_said(version, architecture, word_bytes, said):
    with pytest.raises(ProgramError, match=said):
        arguments(version, architecture, word_bytes)
