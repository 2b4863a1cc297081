"""Where the arguments of writeKeyLog are, by architecture, release of Go, and size of the arguments.

What is expected for arm64 was run on Linux 6.1 for arm64 in an emulator: docs/recording.md, "Where it was seen to work".
"""

from types import SimpleNamespace

import pytest

from captool.goprogram.build_info import GoBuild
from captool.goprogram.elf import ProgramError
from captool.goprogram.function_address import FunctionAddress
from captool.session_keys.write_key_log import FUNCTION, fetch_arguments

WITH_LABEL, WITHOUT = 88, 72  # bytes on the stack, as pclntab of Go 1.16.3 and of Go 1.8.3 says
ON_THE_STACK = (
    "ll=+24($stack):u64 l=+0(+16($stack)):x8[32] rl=+40($stack):u64 r=+0(+32($stack)):x8[32] "
    "sl=+64($stack):u64 s=+0(+56($stack)):x8[48]"
)
ON_THE_STACK_WITHOUT_LABEL = "rl=+24($stack):u64 r=+0(+16($stack)):x8[32] sl=+48($stack):u64 s=+0(+40($stack)):x8[48]"


def arguments(version, architecture="amd64", word_bytes=8, argument_bytes=WITH_LABEL):
    elf = SimpleNamespace(architecture=architecture, word_bytes=word_bytes, path="p")
    build = None if version is None else GoBuild(version, None, {})
    return fetch_arguments(elf, build, FunctionAddress(FUNCTION, 0x1000, 0, ("pclntab",), argument_bytes))


@pytest.mark.parametrize(
    ("version", "architecture", "expected"),
    [
        ("go1.24.3", "amd64", "ll=%cx:u64 l=+0(%bx):x8[32] rl=%si:u64 r=+0(%di):x8[32] sl=%r10:u64 s=+0(%r9):x8[48]"),
        ("go1.17", "amd64", "ll=%cx:u64 l=+0(%bx):x8[32] rl=%si:u64 r=+0(%di):x8[32] sl=%r10:u64 s=+0(%r9):x8[48]"),
        ("go1.18.1", "arm64", "ll=%x2:u64 l=+0(%x1):x8[32] rl=%x4:u64 r=+0(%x3):x8[32] sl=%x7:u64 s=+0(%x6):x8[48]"),
    ],
)
def test_arguments_in_registers(version, architecture, expected):
    # what pclntab says of the stack is not about them: with Go 1.19 it is 72, as with Go 1.11
    assert {expected} == {arguments(version, architecture, argument_bytes=size) for size in (WITH_LABEL, WITHOUT, None)}


@pytest.mark.parametrize(
    ("version", "architecture"),
    [("go1.16.5", "amd64"), ("go1.17", "arm64"), ("go1.16.2", "arm64"), ("go1.17.1 X:noregabi", "amd64"), ("go1.12", "amd64"), (None, "amd64")],
)
def test_arguments_on_the_stack_are_told_apart_by_their_size(version, architecture):
    assert ON_THE_STACK == arguments(version, architecture)
    assert ON_THE_STACK_WITHOUT_LABEL == arguments(version, architecture, argument_bytes=WITHOUT)
    for size, said in ((80, "80 bytes"), (0, "0 bytes"), (None, "unknown")):
        with pytest.raises(ProgramError, match=rf"\({said}\) is that of no known Go"):
            arguments(version, architecture, argument_bytes=size)


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
