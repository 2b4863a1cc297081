"""Which Go built a program from which session keys are to be taken, or why none can be."""

from typing import Final

from captool.goprogram.build_info import GoBuild, go_build
from captool.goprogram.elf import ElfFile, ProgramError
from captool.goprogram.pclntab import find_table
from captool.session_keys.other_libraries import instead

BEFORE_BUILD_INFO: Final = "Go 1.12 or older"  # what is known of a program that does not say


def built_by(elf: ElfFile) -> GoBuild | None:
    """The Go that built the program; None for one older than Go 1.13 that is stripped, and so does not say.

    Raises ProgramError: not-go, with what to do instead, or unproven for a newer one whose build information somebody removed.
    """
    try:
        return go_build(elf)
    except ProgramError as error:
        if error.fault != "not-go":
            raise
    table = find_table(elf)
    if table is None:
        raise ProgramError("not-go", instead(elf))
    if table.layout != "1.2":  # of Go 1.15 and older, which pass every argument on the stack
        raise ProgramError("unproven", f"{elf.path}: its build information was removed, so which Go built it, and its calls, are not known")
    return None
