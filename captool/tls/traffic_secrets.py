"""The key schedule of TLS 1.3 from its traffic secrets on (RFC 8446 section 7), with HKDF-Expand (RFC 5869)."""

import hashlib
import hmac
from enum import Enum
from typing import Final

from captool.tls.cipher_suites import CipherSuite

NONCE_LENGTH: Final = 12
MESSAGE_HASH: Final = 254  # RFC 8446 section 4.4.1


class Epoch(Enum):
    """The keys of TLS 1.3 in their order (RFC 8446 section 7.1)."""

    EARLY = "CLIENT_EARLY_TRAFFIC_SECRET"
    HANDSHAKE = "HANDSHAKE_TRAFFIC_SECRET"
    APPLICATION = "TRAFFIC_SECRET_0"


def hkdf_expand(hash_name: str, secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869 section 2.3)."""
    output, block = bytearray(), b""
    for count in range(1, 256):
        if len(output) >= length:
            break
        block = hmac.digest(secret, block + info + bytes([count]), hash_name)
        output += block
    return bytes(output[:length])


def hkdf_expand_label(hash_name: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1)."""
    full = b"tls13 " + label
    info = length.to_bytes(2) + bytes([len(full)]) + full + bytes([len(context)]) + context
    return hkdf_expand(hash_name, secret, info, length)


def traffic_keys(suite: CipherSuite, secret: bytes) -> tuple[bytes, bytes]:
    """Key and IV of a traffic secret (RFC 8446 section 7.3)."""
    if suite.bulk is None:
        raise ValueError(f"{suite.name} has no cipher known here")
    key = hkdf_expand_label(suite.prf_hash, secret, b"key", b"", suite.bulk.key_length)
    return key, hkdf_expand_label(suite.prf_hash, secret, b"iv", b"", NONCE_LENGTH)


def next_traffic_secret(suite: CipherSuite, secret: bytes) -> bytes:
    """The secret after a KeyUpdate (RFC 8446 section 7.2)."""
    return hkdf_expand_label(suite.prf_hash, secret, b"traffic upd", b"", len(secret))


def finished_verify_data(suite: CipherSuite, handshake_secret: bytes, handshake: bytes) -> bytes:
    """The content of Finished (RFC 8446 section 4.4.4) after the messages `handshake`."""
    length = hashlib.new(suite.prf_hash).digest_size
    finished_key = hkdf_expand_label(suite.prf_hash, handshake_secret, b"finished", b"", length)
    return hmac.digest(finished_key, hashlib.new(suite.prf_hash, handshake).digest(), suite.prf_hash)


def retried_client_hello(suite: CipherSuite, client_hello: bytes) -> bytes:
    """What stands for the first ClientHello in the transcript after a HelloRetryRequest (RFC 8446 section 4.4.1)."""
    digest = hashlib.new(suite.prf_hash, client_hello).digest()
    return bytes([MESSAGE_HASH, 0, 0, len(digest)]) + digest
