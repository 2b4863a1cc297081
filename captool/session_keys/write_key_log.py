"""crypto/tls.(*Config).writeKeyLog: which Go passes which argument where, as fetch arguments of a uprobe event.

Go calls it for every secret, whether or not the program asked for a key log (src/crypto/tls/common.go), so an event at its entry sees
them all. Its signature is writeKeyLog(label string, clientRandom, secret []byte) error, until Go 1.11 without the label. Registers:
src/cmd/compile/abi-internal.md; before that arguments are on the stack, above the return address, and how many bytes of them there are
stands in pclntab. Registers are called as the kernel calls them (%ax, not %rax).
"""

from typing import Final

from captool.goprogram.build_info import GoBuild
from captool.goprogram.elf import ElfFile, ProgramError
from captool.goprogram.function_address import FunctionAddress

FUNCTION: Final = "crypto/tls.(*Config).writeKeyLog"
MAX_LABEL: Final = 32  # the longest is CLIENT_HANDSHAKE_TRAFFIC_SECRET
RANDOM_BYTES: Final = 32
MAX_SECRET: Final = 48  # of SHA-384, and the master secret of TLS 1.2

_AMD64: Final = ("%bx", "%cx", "%di", "%si", "%r9", "%r10")
_ARM64: Final = ("%x1", "%x2", "%x3", "%x4", "%x6", "%x7")
# on the stack: the return address (arm64: the saved link register), the receiver, then pointer, length (and capacity) of each
_STACK: Final = tuple(f"+{offset}($stack)" for offset in (16, 24, 32, 40, 56, 64))
_STACK_WITHOUT_LABEL: Final = tuple(f"+{offset}($stack)" for offset in (16, 24, 40, 48))
_BY_SIZE: Final = {8 + 16 + 24 + 24 + 16: _STACK, 8 + 24 + 24 + 16: ("", "", *_STACK_WITHOUT_LABEL)}  # receiver, arguments, error
_REGISTERS: Final = {"amd64": (_AMD64, (1, 17)), "arm64": (_ARM64, (1, 18))}


def fetch_arguments(elf: ElfFile, build: GoBuild | None, function: FunctionAddress) -> str:
    """The arguments of the event's definition at the entry of `function`.

    `build` is None for a Go program that does not say which Go built it: stripped, and older than 1.13. Raises ProgramError for programs
    whose calling convention is not known.
    """
    if elf.architecture not in _REGISTERS or elf.word_bytes != 8:
        raise ProgramError("unproven", f"{elf.path}: session keys are taken of amd64 and arm64 programs, not of {elf.architecture}")
    if build is not None:
        release = build.release
        if release is None:
            version = build.version[:40]
            raise ProgramError("unproven", f"{elf.path}: built by {version!r}, which is no Go release, so its calls are not known")
        registers, since = _REGISTERS[elf.architecture]
        if release >= since and "noregabi" not in build.experiments:
            return _arguments(registers)
    places = _BY_SIZE.get(function.argument_bytes or 0)
    if places is None:
        size = "unknown" if function.argument_bytes is None else f"{function.argument_bytes} bytes"
        raise ProgramError("unproven", f"{elf.path}: the size of the arguments of {FUNCTION} ({size}) is that of no known Go")
    return _arguments(places)


def _arguments(places: tuple[str, ...]) -> str:
    label, label_length, random, random_length, secret, secret_length = places
    words = [f"ll={label_length}:u64", f"l=+0({label}):x8[{MAX_LABEL}]"] if label else []
    words += [f"rl={random_length}:u64", f"r=+0({random}):x8[{RANDOM_BYTES}]"]
    words += [f"sl={secret_length}:u64", f"s=+0({secret}):x8[{MAX_SECRET}]"]
    return " ".join(words)
