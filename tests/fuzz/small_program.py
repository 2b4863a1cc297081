"""The smallest Go program that captool can answer for: ELF header, two segments, build information, a pclntab of two functions."""

import struct

FUNCTION = b"crypto/tls.(*Config).writeKeyLog"
BASE, DATA = 0x400000, 0x600000
TEXT = 0x1000  # where code stands in the file


def small_program() -> bytes:
    text = b"\xc3" * 64
    data_at = TEXT + len(text)
    names = b"main.main\0" + FUNCTION + b"\0"
    records = [(0, 0), (32, 10)]  # entry from runtime.text, place of the name
    pairs = 3 * 8
    functab = struct.pack("<IIIII", 0, pairs, 32, pairs + 44, 64).ljust(pairs, b"\0")
    functab += b"".join(struct.pack("<II", *record).ljust(44, b"\0") for record in records)
    head = b"\xf1\xff\xff\xff\0\0\1\x08"
    names_at = 8 + 64
    functab_at = names_at + len(names) + -(names_at + len(names)) % 8
    head += struct.pack("<8Q", len(records), 1, BASE + TEXT, names_at, names_at + len(names), 0, 0, functab_at)
    pclntab = (head + names).ljust(functab_at, b"\0") + functab
    pclntab += bytes(-len(pclntab) % 8)
    info = b"\xff Go buildinf:\x08\x02".ljust(32, b"\0")
    modules = b"0" * 16 + b"path\tgithub.com/docker/cli\nbuild\tGOARCH=amd64\n" + b"1" * 16
    info += b"\x08go1.24.3" + bytes([len(modules)]) + modules
    info += bytes(-len(info) % 16)
    info_address = DATA
    table_address = info_address + len(info)
    module = [0] * 24
    module[0], module[16], module[17] = table_address, table_address + functab_at, len(records) + 1
    module[20], module[21], module[22], module[23] = BASE + TEXT, BASE + TEXT + 64, BASE + TEXT, BASE + TEXT + 64
    content = info + pclntab + struct.pack("<24Q", *module)
    section_names = b"\0.go.buildinfo\0.gopclntab\0.shstrtab\0"
    sections_at = data_at + len(content) + len(section_names)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 3, info_address, data_at, len(info), 0, 0, 16, 0)
    sections += struct.pack("<IIQQQQIIQQ", 15, 1, 2, table_address, data_at + len(info), len(pclntab), 0, 0, 8, 0)
    sections += struct.pack("<IIQQQQIIQQ", 26, 3, 0, 0, data_at + len(content), len(section_names), 0, 0, 1, 0)
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + TEXT, 64, sections_at, 0, 64, 56, 2, 64, 4, 3)
    segments = struct.pack("<IIQQQQQQ", 1, 5, TEXT, BASE + TEXT, BASE + TEXT, len(text), len(text), 4096)
    segments += struct.pack("<IIQQQQQQ", 1, 6, data_at, DATA, DATA, len(content), len(content), 16)
    return (header + segments).ljust(TEXT, b"\0") + text + content + section_names + sections
