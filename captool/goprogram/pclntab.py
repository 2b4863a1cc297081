"""Go's table of functions (pclntab), which every Go program carries, stripped or not. Spec: debug/gosym/pclntab.go, runtime/symtab.go.

A table begins with a magic number for its version, two zero bytes, the smallest instruction size and the pointer size. Since Go 1.18
functions are offsets from runtime.text, before that they are addresses. runtime.text is not the section .text (C code stands first when
the C linker was used) and since Go 1.26 not in the table either, so it is taken from runtime.firstmoduledata, the structure that the
running program itself uses, which points to the table.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from captool.goprogram.elf import EXECUTABLE, ElfFile, occurrences

Layout = Literal["1.2", "1.16", "1.18", "1.20"]
MAGICS: Final[dict[Layout, int]] = {"1.20": 0xFFFFFFF1, "1.18": 0xFFFFFFF0, "1.16": 0xFFFFFFFA, "1.2": 0xFFFFFFFB}
INSTRUCTION_SIZES: Final = {"amd64": 1, "386": 1, "arm64": 4, "arm": 4, "ppc64": 4, "s390x": 2}
SECTIONS: Final = (".gopclntab", ".data.rel.ro.gopclntab")
MAX_FUNCTIONS: Final = 1 << 24
MAX_CANDIDATES: Final = 256  # places that look like the beginning of a table, pointers that look like the one to it
MAX_NAMES: Final = 64  # places where one name stands: alone, and as the end of others
MAX_RECORDS: Final = 4096  # places that look like the record of a function of one name
# words of runtime.moduledata since Go 1.16: pcHeader, six slices of three words (the last is ftab), findfunctab, minpc, maxpc, text, etext
_FTAB, _MINPC, _MAXPC, _TEXT, _ETEXT = 16, 20, 21, 22, 23


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """A table that was found: offsets are offsets in the file.

    `names` to `names_end` hold the names, `entries` the table of (entry, offset of the function's record), `records` is what those
    offsets count from. `absolute` says that entries are addresses.
    """

    layout: Layout
    offset: int
    address: int
    functions: int
    names: int
    names_end: int
    entries: int
    records: int
    end: int
    absolute: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the table: its entry (an address, or an offset from runtime.text where the table is not absolute).

    `argument_bytes` is the size of its arguments and results where they are on the stack (until Go 1.16).
    """

    entry: int
    argument_bytes: int


def find_table(elf: ElfFile) -> FunctionTable | None:
    """The program's table of functions: in the section that has its name, else wherever in the loaded data one stands that holds water."""
    for name in SECTIONS:
        section = elf.section(name)
        if section is not None and section.size and (table := _read_any(elf, section.offset)) is not None:
            return table
    for offset in _candidates(elf):
        if (table := _read_any(elf, offset)) is not None:
            return table
    return None


def functions_of(elf: ElfFile, table: FunctionTable, name: str) -> list[Function]:
    """Every function of exactly this name."""
    word = elf.word_bytes if table.absolute else 4
    pair = struct.Struct(elf.order + ("QQ" if word == 8 else "II"))
    found: list[Function] = []
    looked_at = 0
    for name_offset in _name_offsets(elf, table, name):
        # a record begins with the function's entry, then the name's offset, then the size of the arguments (runtime._func, int32)
        pattern = struct.pack(elf.order + "I", name_offset)
        for position in occurrences(elf.data, pattern, table.records, table.end):
            looked_at += 1
            if looked_at > MAX_RECORDS:
                return found
            record = position - word - table.records
            if record > 0 and position + 8 <= table.end and (entry := _entry(elf, table, record, pair)) is not None:
                found.append(Function(entry, int(struct.unpack_from(elf.order + "i", elf.data, position + 4)[0])))
    return found


def text_start(elf: ElfFile, table: FunctionTable) -> int | None:
    """runtime.text, proven: the structure that points to this table and its entries agrees with the first and the last of them."""
    word = elf.word_bytes
    first, last = _bounds(elf, table)
    entries_at = elf.address_of(table.entries)
    for module in elf.addresses_holding(table.address, MAX_CANDIDATES):
        ftab, count, minpc, maxpc, text, etext = (
            elf.word_at(module + number * word) for number in (_FTAB, _FTAB + 1, _MINPC, _MAXPC, _TEXT, _ETEXT)
        )
        if None in {ftab, count, minpc, maxpc, text, etext} or text is None or etext is None:
            continue
        if (ftab, count) == (entries_at, table.functions + 1) and (minpc, maxpc) == (text + first, text + last) and text <= etext:
            return text
    return None


def _candidates(elf: ElfFile) -> Iterator[int]:
    sizes = {INSTRUCTION_SIZES.get(elf.architecture, 1), 1, 4}
    for magic in MAGICS.values():
        for size in sizes:
            pattern = struct.pack(elf.order + "I", magic) + bytes((0, 0, size, elf.word_bytes))
            for segment in elf.segments:
                if segment.flags & EXECUTABLE:
                    continue
                for number, offset in enumerate(occurrences(elf.data, pattern, segment.offset, segment.offset + segment.size)):
                    if number >= MAX_CANDIDATES:
                        break
                    if offset % 8 == segment.offset % 8:
                        yield offset


def _read_any(elf: ElfFile, offset: int) -> FunctionTable | None:
    """The table at this offset, if there is one."""
    head = bytes(elf.data[offset : offset + 8])
    if len(head) < 8 or head[4:6] != b"\0\0" or head[7] != elf.word_bytes:
        return None
    magic = struct.unpack(elf.order + "I", head[:4])[0]
    layout = next((layout for layout, number in MAGICS.items() if number == magic), None)
    table = _read(elf, offset, layout) if layout else None
    return table if table and _holds(elf, table) else None


def _read(elf: ElfFile, offset: int, layout: Layout) -> FunctionTable | None:
    segment = next((segment for segment in elf.segments if segment.offset <= offset < segment.offset + segment.size), None)
    words = struct.Struct(elf.order + ("8Q" if elf.word_bytes == 8 else "8I"))
    if segment is None or offset + 8 + words.size > segment.offset + segment.size:
        return None
    head = words.unpack_from(elf.data, offset + 8)
    functions, end = head[0], segment.offset + segment.size
    if layout == "1.2":
        names, names_end, entries, records = 0, end - offset, 8 + elf.word_bytes, 0
    elif layout == "1.16":
        names, names_end, entries = head[2], head[3], head[6]
        records = entries
    else:
        names, names_end, entries = head[3], head[4], head[7]
        records = entries
    absolute = layout in {"1.2", "1.16"}
    width = 2 * (elf.word_bytes if absolute else 4)
    if not 0 < functions <= MAX_FUNCTIONS or not names <= names_end <= end - offset or offset + entries + (functions + 1) * width > end:
        return None
    address = offset - segment.offset + segment.address
    return FunctionTable(
        layout, offset, address, functions, offset + names, offset + names_end, offset + entries, offset + records, end, absolute
    )


def _holds(elf: ElfFile, table: FunctionTable) -> bool:
    """Whether the first functions of the table have records within it, in order, and names."""
    word = elf.word_bytes if table.absolute else 4
    pairs = struct.Struct(elf.order + ("QQ" if word == 8 else "II"))
    before = 0
    for number in range(min(table.functions, 16)):
        _, record = pairs.unpack_from(elf.data, table.entries + number * pairs.size)
        position = table.records + record + word
        if record <= before or position + 4 > table.end:
            return False
        before = record
        name = table.names + struct.unpack_from(elf.order + "I", elf.data, position)[0]
        if not table.names <= name < table.names_end or not 0x20 < elf.data[name] < 0x7F:
            return False
    return True


def _name_offsets(elf: ElfFile, table: FunctionTable, name: str) -> Iterator[int]:
    """Where this name and nothing more stands; what precedes it does not matter, for a record names the first byte."""
    for number, position in enumerate(occurrences(elf.data, name.encode() + b"\0", table.names, table.names_end)):
        if number >= MAX_NAMES:
            return
        yield position - table.names


def _entry(elf: ElfFile, table: FunctionTable, record: int, pair: struct.Struct) -> int | None:
    """The entry of the function with this record, when the table of entries and the record agree on it."""
    half = pair.size // 2
    pattern = struct.pack(elf.order + ("Q" if half == 8 else "I"), record)
    end = table.entries + table.functions * pair.size
    for position in occurrences(elf.data, pattern, table.entries, end):
        if (position - table.entries) % pair.size == half:
            in_table, in_record = position - half, table.records + record
            if not table.absolute:
                entry = int(pair.unpack_from(elf.data, in_table)[0])
                return entry if elf.data[in_record : in_record + 4] == elf.data[in_table : in_table + 4] else None
            addresses = [elf.address_of(each) for each in (in_table, in_record)]
            entries = {elf.word_at(address) for address in addresses if address is not None}
            return entries.pop() if len(entries) == 1 else None
    return None


def _bounds(elf: ElfFile, table: FunctionTable) -> tuple[int, int]:
    """The first entry and the end of the last function, as offsets from runtime.text."""
    width = struct.Struct(elf.order + "I")
    return width.unpack_from(elf.data, table.entries)[0], width.unpack_from(elf.data, table.entries + table.functions * 8)[0]
