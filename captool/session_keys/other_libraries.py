"""Programs that are not Go's: which TLS library they use, and what gives their session keys instead of an event."""

from pathlib import PurePath
from typing import Final

from captool.goprogram.elf import ElfFile

KEY_LOG: Final = "give the key log to `captool record --keylog` or `captool analyze --keys`"
_LIBRARIES: Final = (
    (
        b"libssl.so",
        "OpenSSL",
        f"start it with SSLKEYLOGFILE=FILE if it honours that (curl does, Python does since 3.8, nginx and Apache do not) and {KEY_LOG}",
    ),
    (b"libgnutls.so", "GnuTLS", f"start it with SSLKEYLOGFILE=FILE, which GnuTLS honours itself, and {KEY_LOG}"),
    (b"libssl3.so", "NSS", f"start it with SSLKEYLOGFILE=FILE, which NSS honours itself unless it was built without, and {KEY_LOG}"),
)
_PROGRAMS: Final = (
    (("java",), "Java", f"start it with an agent that writes a key log (-javaagent:extract-tls-secrets.jar=FILE) and {KEY_LOG}"),
    (("node", "nodejs"), "Node.js", f"start it with --tls-keylog=FILE and {KEY_LOG}"),
    (("python", "pypy"), "Python", f"start it with SSLKEYLOGFILE=FILE (honoured since 3.8 by ssl.create_default_context) and {KEY_LOG}"),
)
UNKNOWN: Final = f"if it honours SSLKEYLOGFILE, start it with that and {KEY_LOG}; otherwise take them at the other end of the connection"


def instead(elf: ElfFile) -> str:
    """One sentence about a program that is not Go's: what it is, and what to do."""
    name = PurePath(elf.path.split(" (")[0]).name
    for names, what, remedy in _PROGRAMS:
        if name.startswith(names):
            return f"{elf.path} is no Go program but {what}; {remedy}"
    section = elf.section(".dynstr")  # the names of the libraries that it needs
    needed = elf.content(section, 1 << 20) if section else b""
    for library, what, remedy in _LIBRARIES:
        if library in needed:
            return f"{elf.path} is no Go program, it uses {what}; {remedy}"
    return f"{elf.path} is no Go program; {UNKNOWN}"
