"""Names of the groups in which keys are agreed on (IANA registry "TLS Supported Groups"), those that servers choose."""

from typing import Final

GROUPS: Final = {
    0x0017: "secp256r1", 0x0018: "secp384r1", 0x0019: "secp521r1", 0x001D: "x25519", 0x001E: "x448",
    0x0100: "ffdhe2048", 0x0101: "ffdhe3072", 0x0102: "ffdhe4096",
    0x11EB: "SecP256r1MLKEM768", 0x11EC: "X25519MLKEM768", 0x11ED: "SecP384r1MLKEM1024",
}  # fmt: skip


def group_name(number: int) -> str:
    """The registry's name; unknown numbers in hex."""
    return GROUPS.get(number, f"group 0x{number:04x}")
