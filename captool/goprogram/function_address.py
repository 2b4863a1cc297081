"""Where a function of a Go program begins, proven: a breakpoint in the middle of an instruction would break the program it is set in."""

import struct
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from captool.goprogram.elf import ElfFile, ProgramError, occurrences
from captool.goprogram.pclntab import INSTRUCTION_SIZES, MAX_NAMES, entries_of, find_table, text_start

Source = Literal["symbol table", "pclntab"]
STT_FUNC: Final = 2
MAX_SYMBOLS: Final = 1024  # of the same name


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """The entry of a function: its address in memory before relocation, its offset in the file, and what it is known from."""

    name: str
    address: int
    offset: int
    known_from: tuple[Source, ...]


def find_function(elf: ElfFile, name: str) -> FunctionAddress:
    """The entry of the function with exactly this name (as Go writes it: "crypto/tls.(*Config).writeKeyLog").

    Taken from the symbol table and from pclntab; where a program has both, they must agree. Raises ProgramError: function-not-found
    (never linked in, or inlined everywhere), or unproven (tables that disagree, or an address that is not executable).
    """
    found: dict[Source, list[int]] = {}
    if symbols := _in_symbol_table(elf, name):
        found["symbol table"] = symbols
    if entries := _in_pclntab(elf, name):
        found["pclntab"] = entries
    addresses = {address for each in found.values() for address in each}
    if not addresses:
        raise ProgramError("function-not-found", f"{elf.path} has no function {name}: it is not linked in, or was inlined")
    if len(addresses) > 1:
        raise ProgramError("unproven", f"{elf.path}: its tables disagree on where {name} begins")
    address = addresses.pop()
    offset = elf.executable_offset(address)
    if offset is None or address % INSTRUCTION_SIZES.get(elf.architecture, 1):
        raise ProgramError("unproven", f"{elf.path}: {name} does not begin in code")
    return FunctionAddress(name, address, offset, tuple(found))


def _in_symbol_table(elf: ElfFile, name: str) -> list[int]:
    table = next((section for section in elf.sections if section.kind == "SHT_SYMTAB"), None)
    if table is None or not 0 < table.link < len(elf.sections):
        return []
    strings = elf.sections[table.link]
    # Elf64_Sym: name, info, other, section, value, size; Elf32_Sym: name, value, size, info, other, section
    symbol = struct.Struct(elf.order + ("IBBHQQ" if elf.word_bytes == 8 else "IIIBBH"))
    found: list[int] = []
    for at in islice(occurrences(elf.data, name.encode() + b"\0", strings.offset, strings.offset + strings.size), MAX_NAMES):
        pattern = struct.pack(elf.order + "I", at - strings.offset)
        for position in occurrences(elf.data, pattern, table.offset, table.offset + table.size):
            if (position - table.offset) % symbol.size or position + symbol.size > table.offset + table.size or len(found) >= MAX_SYMBOLS:
                continue
            fields = symbol.unpack_from(elf.data, position)
            kind, section, value = (fields[1], fields[3], fields[4]) if elf.word_bytes == 8 else (fields[3], fields[5], fields[1])
            if kind & 0xF == STT_FUNC and section:
                found.append(int(value))
    return found


def _in_pclntab(elf: ElfFile, name: str) -> list[int]:
    table = find_table(elf)
    if table is None:
        return []
    entries = entries_of(elf, table, name)
    if table.absolute or not entries:
        return entries
    start = text_start(elf, table)
    if start is None:
        raise ProgramError("unproven", f"{elf.path}: where its code begins cannot be proven (the module data does not fit pclntab)")
    return [start + entry for entry in entries]
