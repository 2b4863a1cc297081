"""A capture as pcapng with the secrets that open it in front of its packets: Wireshark needs nothing else.

Packets pass through once, in the order of the capture; of pcap files a section is made, the blocks of pcapng files are copied as they
are (names, comments, statistics, times), but for secrets that they carry already, which are among those in front.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from captool import __version__
from captool.capture.capture_file import recognise
from captool.capture.pcap import PcapFile
from captool.capture.pcapng import BYTE_ORDERS, DECRYPTION_SECRETS, INTERFACE_DESCRIPTION, SECTION_HEADER, PcapngFile
from captool.capture.reader import CHUNK, CaptureReader
from captool.capture.source import open_source
from captool.capture.stream import ByteStream, open_stream, read_up_to
from captool.export import blocks
from captool.export.private_file import private_file
from captool.record.manifest_file import Manifests

MAX_BLOCK: Final = 16 << 20  # as the reader has it
REPORT_EACH: Final = 4096
PACKETS: Final = frozenset({2, 3, blocks.ENHANCED_PACKET})  # the obsolete and the simple packet block as well
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """How much of a capture was exported; `notes` are sentences about what could not be read."""

    packets: int
    notes: tuple[str, ...]


def write_pcapng(paths: list[Path], lines: tuple[str, ...], file: BinaryIO, progress: Progress | None = None) -> Written:
    """Write the captures (a file, or several that are one capture) with the key log `lines` in front. Raises CaptureError, OSError."""
    with CaptureReader(paths) as capture:
        ordered, total = capture.paths, capture.total_bytes
    made = _Export(file, lines)
    done = 0
    for path in ordered:
        head = _head(path)
        parts = made.add_pcap(path, head) if isinstance(head, PcapFile) else made.add_pcapng(path)
        for read in parts:
            if progress:
                progress(done + read, total)
        done += path.stat().st_size
    made.end_section()
    return Written(made.packets, tuple(made.notes))


def _head(path: Path) -> PcapFile | PcapngFile:
    opened = open_source(path)
    try:
        stream = open_stream(opened)
        buffer = bytearray(64)
        return recognise(path, buffer, read_up_to(stream, buffer, 0, len(buffer)))[0]
    finally:
        opened.close()


class _Export:
    """The file that is being written. A section of our own is open from the first pcap file to the next pcapng file, or the end."""

    def __init__(self, file: BinaryIO, lines: tuple[str, ...]) -> None:
        self.packets = 0
        self.notes: list[str] = []
        self._file, self._lines = file, lines
        self._interfaces: dict[tuple[int, str | None], int] = {}
        self._open = False
        self._statistics: dict[int, dict[str, int | None]] = {}
        self._last_ns = 0
        self._manifests = Manifests()

    def add_pcap(self, path: Path, head: PcapFile) -> Iterator[int]:
        """Append the packets of a pcap file; gives the bytes of it that were read, again and again."""
        if not self._open:
            self._file.write(blocks.section_header(f"captool {__version__}"))
            self._open = True
        found = self._manifests.of(path)
        manifest = found[1] if found else {}
        name = manifest.get("interface")
        name = name if isinstance(name, str) else None
        number = self._interface(head.link_type, head.snap_length, name)
        self._put_secrets("<")
        write, packet = self._file.write, blocks.enhanced_packet
        with CaptureReader([path]) as capture:
            for frames in capture.chunks():
                view = memoryview(frames.buffer)
                for row in range(frames.count):
                    begin = frames.offset[row]
                    write(packet(number, frames.ts_ns[row], view[begin : begin + frames.captured[row]], frames.original[row]))
                view.release()
                self.packets += frames.count
                self._last_ns = frames.ts_ns[frames.count - 1]
                yield capture.bytes_read
            if capture.truncated_file:
                self.notes.append(f"{path}: ends in the middle of a packet, or is damaged; all before that was exported")
        counted = manifest.get("packets")
        if isinstance(counted, dict):
            self._statistics[number] = {
                key: value if isinstance(value := counted.get(key), int) and 0 <= value < 1 << 64 else None
                for key in ("received_by_filter", "dropped_by_kernel", "dropped_by_interface")
            }

    def end_section(self) -> None:
        """Write what was counted, and end our section."""
        for number, counted in self._statistics.items():
            if any(value is not None for value in counted.values()):
                self._file.write(blocks.interface_statistics(number, self._last_ns, *counted.values()))
        self._statistics, self._interfaces, self._open = {}, {}, False

    def add_pcapng(self, path: Path) -> Iterator[int]:
        """Copy the blocks of a pcapng file, as far as they are whole; gives the bytes of it that were read, again and again."""
        self.end_section()
        opened = open_source(path)
        try:
            stream = open_stream(opened)
            for kind, order, body in _blocks(stream):
                if kind not in {SECTION_HEADER, INTERFACE_DESCRIPTION}:
                    self._put_secrets(order)
                if kind == SECTION_HEADER:
                    # its length is no longer known, for blocks come in and go out
                    self._file.write(blocks.block(kind, body[:8] + b"\xff" * 8 + body[16:], order))
                elif kind != DECRYPTION_SECRETS:
                    self._file.write(blocks.block(kind, body, order))
                    self.packets += kind in PACKETS
                    if self.packets % REPORT_EACH == 0:
                        yield opened.tell()
        except _DamagedError as damage:
            self.notes.append(f"{path}: {damage}; all before that was exported")
        except OSError as error:
            self.notes.append(f"{path}: {error}; all before that was exported")
        finally:
            opened.close()

    def _put_secrets(self, order: str) -> None:
        """Once, in front of the first packet, for readers keep secrets from one section to the next.

        Behind the interfaces: Wireshark's tools take the file's link type from those that follow the section header at once.
        """
        for one in blocks.decryption_secrets(self._lines, order):
            self._file.write(one)
        self._lines = ()

    def _interface(self, link_type: int, snap_length: int, name: str | None) -> int:
        number = self._interfaces.get((link_type, name))
        if number is None:
            number = self._interfaces[link_type, name] = len(self._interfaces)
            self._file.write(blocks.interface_description(link_type, snap_length, name))
        return number


class _DamagedError(Exception):
    """A block that is none, or not whole."""


def _blocks(stream: ByteStream) -> Iterator[tuple[int, str, bytes]]:
    """The blocks of a file as (type, byte order, body). Raises _DamagedError where it ends in the middle of one or is damaged."""
    order = "<"
    buffer = bytearray(CHUNK)
    fill = start = position = 0
    while True:
        if fill - start < 12:
            buffer[: fill - start] = buffer[start:fill]
            fill, start = read_up_to(stream, buffer, fill - start, len(buffer)), 0
            if fill < 12:
                if fill:
                    raise _DamagedError(f"ends in the middle of a block at byte {position}")
                return
        (kind,) = struct.unpack_from(order + "I", buffer, start)
        if kind == SECTION_HEADER:
            found = BYTE_ORDERS.get(bytes(buffer[start + 8 : start + 12]))
            if found is None:
                raise _DamagedError(f"a section header at byte {position} has no byte order")
            order = found
        length = int(struct.unpack_from(order + "I", buffer, start + 4)[0]) + 3 & ~3
        if length < (28 if kind == SECTION_HEADER else 12) or length > MAX_BLOCK:
            raise _DamagedError(f"a block at byte {position} claims a length of {length} bytes")
        if fill - start < length:
            rest = buffer[start:fill]
            buffer = bytearray(max(CHUNK, length))
            buffer[: len(rest)] = rest
            fill, start = read_up_to(stream, buffer, len(rest), len(buffer)), 0
            if fill < length:
                raise _DamagedError(f"ends in the middle of a block at byte {position}")
        yield kind, order, bytes(buffer[start + 8 : start + length - 4])
        start += length
        position += length


def export_pcapng(paths: list[Path], lines: tuple[str, ...], output: Path, progress: Progress | None = None) -> Written:
    """Write the capture to `output`, whole or not at all, for its owner only. Raises CaptureError, UsageError."""
    with private_file(output) as file:
        return write_pcapng(paths, lines, file, progress)
