"""Where a function of a Go program begins, proven: a breakpoint in the middle of an instruction would break the program it is set in."""

from dataclasses import dataclass
from typing import Literal

from captool.goprogram.elf import ElfFile, ProgramError
from captool.goprogram.pclntab import INSTRUCTION_SIZES, Function, find_table, functions_of, text_start
from captool.goprogram.symbol_table import STT_FUNC, addresses_of

Source = Literal["symbol table", "pclntab"]


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """The entry of a function: its address in memory before relocation, its offset in the file, and what it is known from.

    `argument_bytes` is what pclntab says of the size of its arguments and results on the stack; None where only a symbol is known.
    """

    name: str
    address: int
    offset: int
    known_from: tuple[Source, ...]
    argument_bytes: int | None = None


def find_function(elf: ElfFile, name: str) -> FunctionAddress:
    """The entry of the function with exactly this name (as Go writes it: "crypto/tls.(*Config).writeKeyLog").

    Taken from the symbol table and from pclntab; where a program has both, they must agree. Raises ProgramError: function-not-found
    (never linked in, or inlined everywhere), or unproven (tables that disagree, or an address that is not executable).
    """
    found: dict[Source, list[int]] = {}
    if symbols := addresses_of(elf, name, STT_FUNC):
        found["symbol table"] = symbols
    if functions := _in_pclntab(elf, name):
        found["pclntab"] = [function.entry for function in functions]
    addresses = {address for each in found.values() for address in each}
    if not addresses:
        raise ProgramError("function-not-found", f"{elf.path} has no function {name}: it is not linked in, or was inlined")
    if len(addresses) > 1:
        raise ProgramError("unproven", f"{elf.path}: its tables disagree on where {name} begins")
    address = addresses.pop()
    offset = elf.executable_offset(address)
    if offset is None or address % INSTRUCTION_SIZES.get(elf.architecture, 1):
        raise ProgramError("unproven", f"{elf.path}: {name} does not begin in code")
    return FunctionAddress(name, address, offset, tuple(found), functions[0].argument_bytes if functions else None)


def _in_pclntab(elf: ElfFile, name: str) -> list[Function]:
    table = find_table(elf)
    if table is None:
        return []
    functions = functions_of(elf, table, name)
    if table.absolute or not functions:
        return functions
    start = text_start(elf, table)
    if start is None:
        raise ProgramError("unproven", f"{elf.path}: where its code begins cannot be proven (the module data does not fit pclntab)")
    return [Function(start + function.entry, function.argument_bytes) for function in functions]
