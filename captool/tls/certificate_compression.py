"""Compressed certificates (RFC 8879): a Certificate message of TLS 1.3 behind one of three algorithms."""

import zlib
from typing import Final

from captool.errors import DecodeError
from captool.tls.octets import Octets

ZLIB: Final = 1
ZSTD: Final = 3  # 2 is Brotli, for which captool has no library
MAX_CERTIFICATE_BYTES: Final = 1 << 17
MAX_WINDOW: Final = 1 << 23


def decompressed(body: bytes) -> bytes | None:
    """The Certificate message (without its header) in a CompressedCertificate message.

    None for an algorithm that is not read here, and for a message that does not come to the length that it says. Raises DecodeError where
    the message itself is cut.
    """
    octets = Octets(body)
    algorithm, length = octets.number(2), octets.number(3)
    packed = octets.vector(3)
    if length > MAX_CERTIFICATE_BYTES:
        return None
    try:
        plain = _inflated(packed, length) if algorithm == ZLIB else _unzstd(packed, length) if algorithm == ZSTD else None
    except (zlib.error, DecodeError):
        return None
    return plain if plain is not None and len(plain) == length else None


def _inflated(packed: bytes, length: int) -> bytes:
    return zlib.decompressobj().decompress(packed, length + 1)


def _unzstd(packed: bytes, length: int) -> bytes:
    import zstandard

    try:
        return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(packed).read(length + 1)
    except zstandard.ZstdError as fault:
        raise DecodeError("not Zstandard") from fault
