"""Tables made to be expensive: the same name without end, and symbols and records that all point to it."""

import struct

import pytest

from captool.goprogram.elf import ElfFile, ProgramError
from captool.goprogram.function_address import find_function
from tests.fuzz.small_program import BASE, FUNCTION, small_program
from tests.growth import PROPORTIONATE, growth


def asked(data):
    def ask():
        try:
            return find_function(ElfFile(data, "p"), FUNCTION.decode())
        except ProgramError as error:
            return error

    return ask


def test_the_smallest_program_has_the_function():
    assert 32 == asked(small_program())().address - BASE - 0x1000


def names_in_the_symbol_table(count):
    names, symbols = (FUNCTION + b"\0") * count, struct.pack("<IBBHQQ", 0xFFFFFFFF, 2, 0, 1, 0, 0) * count
    sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, 64, len(symbols), 2, 0, 8, 24)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64 + len(symbols), len(names), 0, 0, 1, 0)
    at = 64 + len(symbols) + len(names)
    return b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, at, 0, 64, 56, 0, 64, 3, 2) + symbols + names + sections


def names_in_the_function_table(count):
    """Every name offset stands very often behind the records, and no record is true."""
    names = b"main.main\0" + (FUNCTION + b"\0") * count
    pairs = 2 * 8
    entries = struct.pack("<IIII", 0, pairs, 64, 0) + struct.pack("<II", 0, 0).ljust(44, b"\0")
    offsets = b"".join(struct.pack("<I", 10 + len(FUNCTION + b"\0") * number) for number in range(64)) * (count // 16)
    functab_at = 72 + len(names) + -len(names) % 8
    table = b"\xf1\xff\xff\xff\0\0\1\x08" + struct.pack("<8Q", 1, 1, BASE, 72, 72 + len(names), 0, 0, functab_at)
    content = (table + names).ljust(functab_at, b"\0") + entries + offsets
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return (header + struct.pack("<IIQQQQQQ", 1, 6, 128, BASE, BASE, len(content), len(content), 8)).ljust(128, b"\0") + content


@pytest.mark.slow
@pytest.mark.parametrize("program", [names_in_the_symbol_table, names_in_the_function_table])
def test_the_same_name_without_end_takes_time_in_proportion(program):
    assert growth(lambda count: asked(program(count)), 4000) < PROPORTIONATE
