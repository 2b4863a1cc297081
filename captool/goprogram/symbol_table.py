"""Addresses of the symbols of a program that was not stripped. Spec: System V gABI, chapter 4 (symbol table)."""

import struct
from itertools import islice
from typing import Final

from captool.goprogram.elf import ElfFile, occurrences

STT_OBJECT: Final = 1
STT_FUNC: Final = 2
MAX_SYMBOLS: Final = 1024  # of the same name
MAX_NAMES: Final = 64  # places where one name stands: alone, and as the end of others


def addresses_of(elf: ElfFile, name: str, kind: int) -> list[int]:
    """The address of every symbol of exactly this name and this kind (STT_FUNC, STT_OBJECT) that the program itself defines."""
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
            its_kind, section, value = (fields[1], fields[3], fields[4]) if elf.word_bytes == 8 else (fields[3], fields[5], fields[1])
            if its_kind & 0xF == kind and section:
                found.append(int(value))
    return found
