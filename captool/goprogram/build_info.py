"""Which Go built a program: the build information that the Go linker leaves in it since Go 1.13 (debug/buildinfo in Go's library).

Older programs say it in the variable runtime.buildVersion, which is found as long as they are not stripped.
"""

import re
from dataclasses import dataclass
from typing import Final

from captool.goprogram.elf import WRITABLE, ElfFile, ProgramError, occurrences
from captool.goprogram.symbol_table import STT_OBJECT, addresses_of

MAGIC: Final = b"\xff Go buildinf:"
ALIGNMENT: Final = 16
HEADER_BYTES: Final = 32
INLINE: Final = 2  # flag since Go 1.18: the strings follow the header, before that it points to them
MAX_VERSION: Final = 256
MAX_MODULES: Final = 1 << 20
VARIABLE: Final = "runtime.buildVersion"
SENTINEL: Final = 16  # bytes on either side of the module information, so that it can be found in a running program
_RELEASE: Final = re.compile(r"(?:devel )?go(\d{1,3})\.(\d{1,4})")
_PRINTABLE: Final = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True)
class GoBuild:
    """How a Go program was built. `version` as Go writes it (go1.24.3, perhaps with experiments: "go1.21.1 X:boringcrypto").

    `package` is the import path of its main package, `settings` the build settings (-ldflags, CGO_ENABLED, GOARCH, ...) and
    `module_version` the version of its main module ("v1.2.3", or "(devel)" in a working copy), where they are recorded.
    """

    version: str
    package: str | None
    settings: dict[str, str]
    module_version: str | None = None

    @property
    def release(self) -> tuple[int, int] | None:
        """(1, 24) of go1.24.3; None for a version that names no release."""
        match = _RELEASE.match(self.version)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def experiments(self) -> frozenset[str]:
        """The experiments (GOEXPERIMENT) that the program was built with, beyond those that its release uses anyway."""
        _, found, names = self.version.partition(" X:")
        return frozenset(names.split(",")) if found else frozenset()


def go_build(elf: ElfFile) -> GoBuild:
    """The build information of a program.

    Raises ProgramError (not-go) when it has none: it is no Go program, or one older than Go 1.13 that is stripped as well.
    """
    for offset in _places(elf):
        if (build := _read(elf, offset)) is not None:
            return build
    for address in addresses_of(elf, VARIABLE, STT_OBJECT):
        if _PRINTABLE.fullmatch(version := _string_at(elf, address, MAX_VERSION).decode("ascii", "replace")):
            return GoBuild(version, None, {})
    raise ProgramError("not-go", f"{elf.path} is no Go program")


def _places(elf: ElfFile) -> list[int]:
    section = elf.section(".go.buildinfo")
    if section is not None and elf.content(section, len(MAGIC)) == MAGIC:
        return [section.offset]
    found = []
    for segment in elf.segments:
        if segment.flags & WRITABLE:
            for offset in occurrences(elf.data, MAGIC, segment.offset, segment.offset + segment.size):
                if (offset - segment.offset + segment.address) % ALIGNMENT == 0:
                    found.append(offset)
                if len(found) >= 16:
                    return found
    return found


def _read(elf: ElfFile, offset: int) -> GoBuild | None:
    if offset + HEADER_BYTES > len(elf.data):
        return None
    pointer_bytes, flags = elf.data[offset + 14], elf.data[offset + 15]
    if flags & INLINE:
        version, end = _inline_string(elf, offset + HEADER_BYTES, MAX_VERSION)
        modules, _ = _inline_string(elf, end, MAX_MODULES)
    else:
        if pointer_bytes != elf.word_bytes:
            return None
        address = elf.address_of(offset + 16)
        if address is None:
            return None
        headers = (elf.word_at(address), elf.word_at(address + pointer_bytes))
        version, modules = (_string_at(elf, header, most) for header, most in zip(headers, (MAX_VERSION, MAX_MODULES), strict=True))
    text = version.decode("ascii", "replace")
    if not _PRINTABLE.fullmatch(text):
        return None
    return GoBuild(text, *_settings(modules))


def _inline_string(elf: ElfFile, offset: int, most: int) -> tuple[bytes, int]:
    """A string after its length (encoding/binary's Uvarint), and where it ends."""
    length = shift = 0
    for position in range(offset, min(offset + 9, len(elf.data))):
        byte = elf.data[position]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            start = position + 1
            fits = length <= most and start + length <= len(elf.data)
            return (bytes(elf.data[start : start + length]), start + length) if fits else (b"", start)
    return b"", offset


def _string_at(elf: ElfFile, header: int | None, most: int) -> bytes:
    """The content of a Go string whose header (pointer, length) is at this address."""
    if not header:
        return b""
    start, length = elf.word_at(header), elf.word_at(header + elf.word_bytes)
    if not start or not length or length > most:
        return b""
    offset = elf.offset_of(start, length)
    return b"" if offset is None else bytes(elf.data[offset : offset + length])


def _settings(modules: bytes) -> tuple[str | None, dict[str, str], str | None]:
    """Main package, settings and main module's version.

    They stand on lines such as "path", tab, "github.com/docker/cli" or "build", tab, "GOARCH=amd64" or "mod", tab, a path, tab, "v1.2.3".
    """
    package = version = None
    settings: dict[str, str] = {}
    for line in modules[SENTINEL:-SENTINEL].decode("utf-8", "replace").splitlines():
        kind, _, rest = line.partition("\t")
        if kind == "path":
            package = rest
        elif kind == "mod":
            version = (*rest.split("\t"), "")[1] or None
        elif kind == "build" and len(settings) < 256:
            key, _, value = rest.partition("=")
            settings[key] = value
    return package, settings, version
