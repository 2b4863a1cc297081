"""Build information in both of its formats, and what is no Go program."""

import struct
import subprocess

import pytest

import go_programs
from captool.goprogram.build_info import GoBuild, go_build
from captool.goprogram.elf import ElfFile, ProgramError, open_program

BASE = 0x400000


def program(data, *, flags=6, machine=62):
    """The smallest ELF file that loads this data, writable, at BASE."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, flags, 0x100, BASE + 0x100, 0, len(data), len(data), 4096)
    return (header + segment).ljust(0x100, b"\0") + data


def pointed_to(version):
    """The format until Go 1.17: pointers to the headers of two strings."""
    here = BASE + 0x100
    words = struct.pack("<QQQQQQ", here + 32, here + 48, here + 64, len(version), 0, 0)
    return b"\xff Go buildinf:\x08\x00" + words + version


def inline(version, modules=b""):
    """The format since Go 1.18: the strings themselves, after their lengths."""
    return (b"\xff Go buildinf:\x08\x02").ljust(32, b"\0") + b"".join(uvarint(len(text)) + text for text in (version, modules))


def uvarint(number):
    return bytes((number & 0x7F | 0x80, *uvarint(number >> 7))) if number > 0x7F else bytes((number,))


def test_strings_that_are_pointed_to():
    assert go_build(ElfFile(program(pointed_to(b"go1.13.8")), "p")) == GoBuild("go1.13.8", None, {})


def test_strings_that_follow_with_package_and_settings():
    modules = b"x" * 16 + b"path\tgithub.com/docker/cli/cmd/docker\nbuild\tGOARCH=amd64\nbuild\t-ldflags=\"-X a=b\"\n" + b"y" * 16
    build = go_build(ElfFile(program(bytes(48) + inline(b"go1.24.3 X:boringcrypto", modules)), "p"))
    assert build.package == "github.com/docker/cli/cmd/docker"
    assert build.settings == {"GOARCH": "amd64", "-ldflags": '"-X a=b"'}
    assert (build.release, build.experiments) == ((1, 24), {"boringcrypto"})


@pytest.mark.parametrize(
    ("version", "release"),
    [("go1.9", (1, 9)), ("go1.27rc1", (1, 27)), ("devel go1.28-abcdef Mon", (1, 28)), ("go1.22.3-1-openssl-fips", (1, 22)), ("devel +abc", None)],
)
def test_release_of_a_version(version, release):
    assert GoBuild(version, None, {}).release == release


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff Go buildinf:",
        inline(b""),
        inline(b"go1.20")[:36],
        inline(b"go\x1b[31m1.20"),
        inline(b"x" * 300),
        (b"\xff Go buildinf:\x08\x02").ljust(32, b"\0") + b"\xff" * 20,
        b"\xff Go buildinf:\x08\x00" + struct.pack("<QQ", 1, 1),
        b"\xff Go buildinf:\x08\x00" + struct.pack("<QQ", BASE + 0x110, 1),
        b"\xff Go buildinf:\x04\x00" + bytes(16),
        b" " + inline(b"go1.20"),
        pointed_to(b"go1.13")[:-3],
    ],
    ids=range(12),
)
def test_what_is_no_build_information(data):
    with pytest.raises(ProgramError, match=r"^p is no Go program$") as raised:
        go_build(ElfFile(program(data), "p"))
    assert raised.value.fault == "not-go"


@pytest.mark.needs("go", "gcc")
@pytest.mark.slow
def test_version_is_what_go_itself_says(go_directory):
    path = go_programs.build(go_directory, go_programs.TLS_PAIR, "pie", "external", "stripped")
    said = subprocess.run(["go", "version", str(path)], check=True, capture_output=True, text=True).stdout
    with open_program(path) as elf:
        build = go_build(elf)
    assert said.strip() == f"{path}: {build.version}"
    assert build.package == "command-line-arguments"
    assert build.settings["CGO_ENABLED"] == "1"


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "not-elf"), (b"hello", "not-elf"), (b"#!/bin/sh\n", "script"), (b"\x7fELF", "damaged"), (b"\x7fELF\2\1\1" + b"\xff" * 80, "damaged")],
)
def test_files_that_are_no_program(tmp_path, content, fault):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ProgramError) as raised, open_program(path):
        pass
    assert raised.value.fault == fault
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_paths_that_cannot_be_read(tmp_path, name):
    with pytest.raises(ProgramError) as raised, open_program(tmp_path / name):
        pass
    assert raised.value.fault == "unreadable"
