"""Addresses of functions, in programs that the machine's own Go builds in every link mode, and in Docker's."""

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

import go_programs
from captool.goprogram.build_info import go_build
from captool.goprogram.elf import ElfFile, ProgramError, open_program
from captool.goprogram.function_address import find_function
from captool.goprogram.pclntab import find_table, functions_of

pytestmark = [pytest.mark.needs("go", "gcc"), pytest.mark.slow]
FUNCTION = "crypto/tls.(*Config).writeKeyLog"


def go_symbols(program):
    """Addresses by name, as Go's own tool reads them from the symbol table."""
    listing = subprocess.run(["go", "tool", "nm", str(program)], check=True, capture_output=True, text=True).stdout
    lines = (line.split(None, 2) for line in listing.splitlines())
    return {line[2]: int(line[0], 16) for line in lines if len(line) == 3 and line[1] in {"t", "T"}}


@pytest.mark.parametrize(("mode", "link", "symbols"), go_programs.MODES)
def test_function_is_found_in_every_link_mode(go_directory, mode, link, symbols):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, link, symbols)
    with open_program(program) as elf:
        found = find_function(elf, FUNCTION)
        assert (found.known_from == ("pclntab",)) == (symbols == "stripped")
        assert elf.executable_offset(found.address) == found.offset
        assert elf.architecture == "amd64"
    if symbols == "symbols":
        assert go_symbols(program)[FUNCTION] == found.address


@pytest.mark.parametrize(("mode", "link"), [("exe", "internal"), ("pie", "external")])
def test_both_tables_agree_on_many_functions(go_directory, mode, link):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, link)
    names = [name for name in sorted(go_symbols(program)) if name.startswith("crypto/tls.") and "[" not in name][::3]
    assert len(names) > 100
    both = 0
    with open_program(program) as elf:
        for name in names:
            both += find_function(elf, name).known_from == ("symbol table", "pclntab")
    assert both > len(names) * 0.9  # the linker's own symbols (type equality and the like) are in one table only


@pytest.mark.parametrize("name", ["tls.(*Config).writeKeyLog", "crypto/tls.(*Config).writeKeyLo", "crypto/tls.(*Config).writeKeyLogs", "", "go"])
def test_only_the_exact_name_is_found(go_directory, name):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, "exe", "internal", "stripped")
    with open_program(program) as elf, pytest.raises(ProgramError, match="has no function") as raised:
        find_function(elf, name)
    assert raised.value.fault == "function-not-found"


def test_a_program_without_tls_is_said_to_have_none(go_directory):
    with open_program(go_programs.build(go_directory, go_programs.HELLO)) as elf:
        assert find_function(elf, "main.main").known_from == ("symbol table", "pclntab")
        with pytest.raises(ProgramError, match="is not linked in, or was inlined"):
            find_function(elf, FUNCTION)


@pytest.mark.parametrize("mode", ["exe", "pie"])
def test_function_is_found_in_programs_for_arm64(go_directory, mode):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, "internal", "stripped", "arm64")
    whole = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, "internal", "symbols", "arm64")
    with open_program(program) as elf:
        found = find_function(elf, FUNCTION)
        assert (elf.architecture, found.known_from) == ("arm64", ("pclntab",))
    assert go_symbols(whole)[FUNCTION] == found.address


def test_words_of_a_program_whose_relocations_are_not_stored_in_place(go_directory):
    """As the linkers for arm64 leave it: every relocated word is zero in the file, and its value only in .rela.dyn."""
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, "pie", "external", "stripped")
    data = bytearray(program.read_bytes())
    elf = ElfFile(bytes(data), "program")
    expected = find_function(elf, FUNCTION)
    relocations = elf.section(".rela.dyn")
    for offset, kind, _ in struct.iter_unpack("<QQq", data[relocations.offset : relocations.offset + relocations.size]):
        place = elf.offset_of(offset, 8)
        if kind == 8 and place is not None:
            data[place : place + 8] = bytes(8)
    assert find_function(ElfFile(bytes(data), "program"), FUNCTION) == expected


def test_a_table_without_the_beginning_of_the_code(go_directory):
    """As Go 1.26 and newer write it: the word is there, and 0."""
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, "exe", "external", "stripped")
    data = bytearray(program.read_bytes())
    elf = ElfFile(bytes(data), "program")
    expected, table = find_function(elf, FUNCTION), find_table(elf)
    assert data[table.offset + 24 : table.offset + 32] != bytes(8)
    data[table.offset + 24 : table.offset + 32] = bytes(8)
    assert find_function(ElfFile(bytes(data), "program"), FUNCTION) == expected


def test_a_program_without_section_headers(go_directory):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, "exe", "internal", "stripped")
    data = bytearray(program.read_bytes())
    expected = find_function(ElfFile(bytes(data), "program"), FUNCTION)
    data[0x28:0x30], data[0x3C:0x40] = bytes(8), bytes(4)
    elf = ElfFile(bytes(data), "program")
    assert () == elf.sections
    assert find_function(elf, FUNCTION) == expected
    assert go_build(elf).release


def test_tables_that_disagree_are_refused(go_directory):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, "exe", "internal", "symbols")
    data = bytearray(program.read_bytes())
    elf = ElfFile(bytes(data), "program")
    found = find_function(elf, FUNCTION)
    table = elf.section(".symtab")
    at = data.index(struct.pack("<Q", found.address), table.offset)
    data[at : at + 8] = struct.pack("<Q", found.address + 1)
    with pytest.raises(ProgramError, match="disagree") as raised:
        find_function(ElfFile(bytes(data), "program"), FUNCTION)
    assert raised.value.fault == "unproven"


def test_code_that_begins_elsewhere_than_the_module_says_is_refused(go_directory):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, "exe", "internal", "stripped")
    data = bytearray(program.read_bytes())
    elf = ElfFile(bytes(data), "program")
    table = find_table(elf)
    (function,) = functions_of(elf, table, FUNCTION)
    text = find_function(elf, FUNCTION).address - function.entry
    (module,) = [each for each in elf.addresses_holding(table.address, 10) if elf.word_at(each + 22 * 8) == text]
    at = elf.offset_of(module + 22 * 8)
    data[at : at + 8] = struct.pack("<Q", text + 0x100)
    with pytest.raises(ProgramError, match="cannot be proven"):
        find_function(ElfFile(bytes(data), "program"), FUNCTION)


@pytest.mark.parametrize("name", ["docker", "dockerd", "containerd"])
def test_the_programs_of_docker_take_well_under_a_second(name):
    for directory in ("/usr/local/bin", "/usr/bin", "/usr/sbin"):
        if (program := Path(directory, name)).is_file() and shutil.which(str(program)):
            begin = time.process_time()
            with open_program(program) as elf:
                assert go_build(elf).release >= (1, 18)
                assert "pclntab" in find_function(elf, FUNCTION).known_from
            assert time.process_time() - begin < 1
