"""An ELF file as far as a Go program needs it: sections, loadable segments, words at addresses. Spec: System V gABI, chapters 4 and 5.

The file is mapped, not read; tables are looked up in the mapping, so a program of 100 MB costs what is looked at. Files are hostile:
counts are bounded, every offset is checked against the mapping, and whatever does not fit is a ProgramError of one line.
"""

import contextlib
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

from captool.errors import CaptoolError

Fault = Literal["unreadable", "not-elf", "script", "damaged", "not-go", "function-not-found", "unproven"]

MAX_SECTIONS: Final = 4096  # Go programs have about 40
MAX_SEGMENTS: Final = 256
HEADER_BYTES: Final = 64
PT_LOAD: Final = "PT_LOAD"
EXECUTABLE, WRITABLE, READABLE = 1, 2, 4  # p_flags
_RELATIVE: Final = {"EM_X86_64": 8, "EM_AARCH64": 1027, "EM_386": 8, "EM_ARM": 23, "EM_RISCV": 3, "EM_PPC64": 22, "EM_S390": 12}
_NAMES: Final = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64", "EM_386": "386", "EM_ARM": "arm", "EM_PPC64": "ppc64", "EM_S390": "s390x"}


class ProgramError(CaptoolError):
    """A program file that does not give what was asked of it; `fault` says in one word why, the message in one line (exit code 3)."""

    exit_code = 3

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Section:
    """A section with content in the file: address in memory (0 if it is not loaded), offset and size in the file."""

    name: str
    kind: str
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file that is loaded: address in memory, offset and size in the file, p_flags."""

    address: int
    offset: int
    size: int
    flags: int


class ElfFile:
    """A mapped ELF file. `path` is its name in messages; `data` its bytes, `words` how it packs integers ("<" or ">")."""

    def __init__(self, data: mmap.mmap | bytes, path: str) -> None:
        self.data = data
        self.path = path
        head = bytes(data[:HEADER_BYTES])
        if head[:2] == b"#!":
            raise ProgramError("script", f"{path} is a script, not a program; name the program that runs it")
        if head[:4] != b"\x7fELF":
            raise ProgramError("not-elf", f"{path} is no ELF program")
        if len(head) < HEADER_BYTES or head[4] not in {1, 2} or head[5] not in {1, 2}:
            raise self.damaged("its header")
        self.word_bytes = 8 if head[4] == 2 else 4
        self.order = "<" if head[5] == 1 else ">"
        self._structs = _structs(self.word_bytes, self.order)
        self._header = self._parse("Elf_Ehdr", 0)
        self.machine = str(self._header["e_machine"])
        self.architecture = _NAMES.get(self.machine, self.machine.removeprefix("EM_").lower())
        self.segments = tuple(self._segments())
        self._word = struct.Struct(self.order + ("Q" if self.word_bytes == 8 else "I"))

    def damaged(self, what: str) -> ProgramError:
        """The error for a part that cannot be what it claims."""
        return ProgramError("damaged", f"{self.path}: {what} cannot be read; the file is damaged or packed")

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """All sections that have content; none where the section headers are stripped or broken, which is no fault of a program."""
        with contextlib.suppress(ProgramError):
            return tuple(self._sections())
        return ()

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section, most: int) -> bytes:
        """The first bytes of a section, so many at most."""
        return bytes(self.data[section.offset : section.offset + min(section.size, most)])

    def offset_of(self, address: int, size: int = 1) -> int | None:
        """Where in the file the bytes at this address come from; None if not all of them do."""
        for segment in self.segments:
            if segment.address <= address and address + size <= segment.address + segment.size:
                return address - segment.address + segment.offset
        return None

    def address_of(self, offset: int) -> int | None:
        """The address at which a byte of the file is loaded."""
        for segment in self.segments:
            if segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.address
        return None

    def executable_offset(self, address: int) -> int | None:
        """Where in the file the instruction at this address is; None unless the address is in a segment that is read and executed."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                runs = segment.flags & EXECUTABLE and segment.flags & READABLE and not segment.flags & WRITABLE
                return address - segment.address + segment.offset if runs else None
        return None

    def word_at(self, address: int) -> int | None:
        """The pointer at an address once the program is loaded at its own addresses.

        In position-independent programs the word comes from a relocation (R_*_RELATIVE), whose addend stands in .rela.dyn; linkers for
        amd64 store it in place as well, those for arm64 do not.
        """
        relocated = self._addends.get(address) if address in self._addends else self._addend(address)
        if relocated is not None:
            return relocated
        offset = self.offset_of(address, self.word_bytes)
        return None if offset is None else int(self._word.unpack_from(self.data, offset)[0])

    def addresses_holding(self, value: int, most: int) -> Iterator[int]:
        """Addresses (at most so many candidates) of aligned words that hold this pointer, in place or by relocation."""
        pattern = self._word.pack(value)
        found = 0
        for segment in self.segments:
            if segment.flags & EXECUTABLE:
                continue
            for offset in occurrences(self.data, pattern, segment.offset, segment.offset + segment.size):
                address = offset - segment.offset + segment.address
                if address % self.word_bytes == 0:
                    yield address
                    found += 1
                    if found >= most:
                        return
        if self.word_bytes == 8:
            for table in self._relocations:
                for offset in occurrences(self.data, pattern, table.offset, table.offset + table.size):
                    position = offset - table.offset
                    if position % 24 == 16 and self._is_relative(offset - 16):
                        yield int(self._word.unpack_from(self.data, offset - 16)[0])
                        found += 1
                        if found >= most:
                            return

    @cached_property
    def _relocations(self) -> tuple[Section, ...]:
        return tuple(section for section in self.sections if section.kind == "SHT_RELA" and section.name == ".rela.dyn")

    @cached_property
    def _addends(self) -> dict[int, int | None]:
        return {}  # what was looked up once

    def _addend(self, address: int) -> int | None:
        found = None
        if self.word_bytes == 8:
            pattern = self._word.pack(address & (1 << 64) - 1)
            for table in self._relocations:
                for offset in occurrences(self.data, pattern, table.offset, table.offset + table.size):
                    if (offset - table.offset) % 24 == 0 and self._is_relative(offset):
                        found = int(self._word.unpack_from(self.data, offset + 16)[0])
        self._addends[address] = found
        return found

    def _is_relative(self, offset: int) -> bool:
        """Whether the Elf64_Rela at this offset of the file adds the load address, and nothing of a symbol."""
        return offset + 24 <= len(self.data) and self._word.unpack_from(self.data, offset + 8)[0] == _RELATIVE.get(self.machine, -1)

    def _parse(self, name: str, offset: int) -> Any:  # noqa: ANN401 (a construct Container)
        from elftools.common.exceptions import ELFParseError
        from elftools.common.utils import struct_parse

        layout = getattr(self._structs, name)
        try:
            return struct_parse(layout, BytesIO(self.data[offset : offset + 64]))
        except (ELFParseError, ValueError, OverflowError):
            raise self.damaged("a header") from None

    def _segments(self) -> Iterator[Segment]:
        start, size, count = (int(self._header[key]) for key in ("e_phoff", "e_phentsize", "e_phnum"))
        if count > MAX_SEGMENTS:
            raise self.damaged(f"its table of {count} segments")
        for number in range(count):
            header = self._parse("Elf_Phdr", start + number * size)
            if header["p_type"] == PT_LOAD:
                address, offset, length = (int(header[key]) for key in ("p_vaddr", "p_offset", "p_filesz"))
                if offset + length > len(self.data) or address + length >> 8 * self.word_bytes:
                    raise self.damaged("a segment")
                yield Segment(address, offset, length, int(header["p_flags"]))

    def _sections(self) -> Iterator[Section]:
        start, size, count, names = (int(self._header[key]) for key in ("e_shoff", "e_shentsize", "e_shnum", "e_shstrndx"))
        if start == 0 or not 0 < names < count <= MAX_SECTIONS:
            return
        table = self._parse("Elf_Shdr", start + names * size)
        first, last = int(table["sh_offset"]), int(table["sh_offset"]) + int(table["sh_size"])
        if last > len(self.data):
            raise self.damaged("the names of its sections")
        for number in range(count):
            header = self._parse("Elf_Shdr", start + number * size)
            offset, length = int(header["sh_offset"]), int(header["sh_size"])
            name_at = first + int(header["sh_name"])
            end = self.data.find(b"\0", name_at, last) if name_at < last else -1
            name = bytes(self.data[name_at:end]).decode("ascii", "replace") if 0 <= end - name_at <= 256 else ""
            kind = str(header["sh_type"])
            if kind == "SHT_NOBITS" or offset + length > len(self.data):
                kind, offset, length = "SHT_NOBITS", 0, 0  # its place is kept, for sections are referred to by number (sh_link)
            yield Section(name, kind, int(header["sh_addr"]), offset, length, int(header["sh_link"]))


@contextmanager
def open_program(path: Path | int, name: str | None = None) -> Iterator[ElfFile]:
    """Map a program: a path, or a descriptor that stays open. `name` is how messages call it. Raises ProgramError."""
    shown = name or str(path)
    try:
        descriptor = os.dup(path) if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ProgramError("unreadable", f"{shown}: {(error.strerror or str(error)).lower()}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ProgramError("unreadable", f"{shown} is not an ordinary file")
        try:
            data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: an empty file
            raise ProgramError("not-elf", f"{shown} is no ELF program") from None
    finally:
        os.close(descriptor)
    elf = None
    try:
        elf = ElfFile(data, shown)
        yield elf
    finally:
        with contextlib.suppress(BufferError):  # a view that an error's traceback still holds; it goes with that
            data.close()


def occurrences(data: mmap.mmap | bytes, pattern: bytes, start: int, end: int) -> Iterator[int]:
    """Every position of the pattern between two offsets."""
    position = data.find(pattern, start, end)
    while position >= 0:
        yield position
        position = data.find(pattern, position + 1, end)


def _structs(word_bytes: int, order: str) -> Any:  # noqa: ANN401 (pyelftools has no types)
    from elftools.elf.structs import ELFStructs

    structs = ELFStructs(little_endian=order == "<", elfclass=word_bytes * 8)
    structs.create_basic_structs()
    structs.create_advanced_structs("ET_EXEC", "EM_X86_64")  # of the layouts that differ by machine none is used
    return structs
