"""Damaged and hostile programs: an answer or one line, in bounded time, whatever stands in the file."""

import random
import time

import pytest

import go_programs
from captool.goprogram.build_info import go_build
from captool.goprogram.elf import ElfFile, ProgramError
from captool.goprogram.function_address import find_function
from captool.goprogram.pclntab import find_table
from captool.session_keys.write_key_log import FUNCTION, fetch_arguments

pytestmark = [pytest.mark.needs("go", "gcc"), pytest.mark.slow]
WORDS = [bytes(8), b"\xff" * 8, b"\0" * 7 + b"\x80", b"\1" + bytes(7), (1 << 32).to_bytes(8, "little"), (1 << 62).to_bytes(8, "little")]


def places(elf):
    """Where a changed byte is not just another instruction."""
    table = find_table(elf)
    module = elf.offset_of(next(elf.addresses_holding(table.address, 1)))
    info = elf.section(".go.buildinfo").offset
    ends = len(elf.data)
    yield from ((0, 64), (64, 64 + 12 * 56), (info, info + 128), (table.offset, table.offset + 80), (table.entries, table.entries + 256))
    yield from ((module, module + 200), (ends - 40 * 64, ends))


@pytest.mark.parametrize(("mode", "symbols"), [("exe", "symbols"), ("pie", "stripped")])
def test_changed_files_give_an_answer_or_one_line(go_directory, mode, symbols):
    link = "external" if mode == "pie" else "internal"
    whole = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, link, symbols).read_bytes()
    expected = find_function(ElfFile(whole, "p"), FUNCTION).offset
    spots = list(places(ElfFile(whole, "p")))
    dice = random.Random(f"{mode} {symbols}")
    answers = faults = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 5)):
            at = dice.randrange(*dice.choice(spots))
            if dice.random() < 0.5:
                data[at] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
            else:
                at -= at % 8
                data[at : at + 8] = dice.choice([*WORDS, dice.randbytes(8), len(data).to_bytes(8, "little")])
        if dice.random() < 0.1:
            del data[dice.randrange(len(data)) :]
        begin = time.process_time()
        try:
            elf = ElfFile(bytes(data), "p")
            fetch_arguments(elf, go_build(elf), find_function(elf, FUNCTION))
            find_function(elf, FUNCTION)
            answers += 1
        except ProgramError as error:
            faults += "\n" not in str(error)
        assert time.process_time() - begin < 2
    assert answers > 20
    assert answers + faults == 400
    assert faults > 20
    assert expected == find_function(ElfFile(whole, "p"), FUNCTION).offset
