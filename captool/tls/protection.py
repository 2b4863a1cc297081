"""Record protection taken off: one opener for each direction and key, made from the negotiated suite.

An `Opener` is called with the record's sequence number and its place in a buffer, header included, and gives the authenticated
content (for TLS 1.3 with content type and padding still at its end), or None where tag, MAC or padding do not verify.
Nothing that did not verify ever leaves it.
"""

from collections.abc import Callable
from typing import Any, Final

from captool.tls import libcrypto
from captool.tls.aead_protection import (
    ADDITIONAL_HEADER,
    ADDITIONAL_NONE,
    ADDITIONAL_NUMBERED,
    ExplicitNonceOpener,
    MaskedNonceOpener,
)
from captool.tls.cipher_suites import AEAD_MODES, BulkCipher, CipherSuite
from captool.tls.hello import is_tls13
from captool.tls.key_schedule import WriteKeys
from captool.tls.traffic_secrets import traffic_keys

Opener = Callable[[int, bytes | memoryview, int, int], Any]  # bytes or None; the compiled openers are untyped to a type checker

TAG_LENGTHS: Final = {"gcm": 16, "ccm": 16, "ccm_8": 8, "chacha20": 16}


def opener(version: int, suite: CipherSuite, keys: WriteKeys, *, encrypt_then_mac: bool) -> Opener:
    """The opener of a direction in TLS 1.2 and before (RFC 5246 section 6.2.3)."""
    bulk = suite.bulk
    if bulk is None:
        raise ValueError(f"{suite.name} has no cipher known here")
    if bulk.mode == "chacha20":
        return MaskedNonceOpener(_aead(bulk, keys.key), keys.iv, ADDITIONAL_NUMBERED, TAG_LENGTHS[bulk.mode])
    if bulk.mode in AEAD_MODES:
        return ExplicitNonceOpener(_aead(bulk, keys.key), keys.iv, TAG_LENGTHS[bulk.mode])
    from captool.tls.block_protection import cbc_opener, stream_opener

    if bulk.mode == "cbc":
        return cbc_opener(version, suite, keys, encrypt_then_mac=encrypt_then_mac)
    return stream_opener(version, suite, keys)


def opener13(version: int, suite: CipherSuite, secret: bytes) -> Opener:
    """The opener of a direction in TLS 1.3 (RFC 8446 section 5.2) under a traffic secret."""
    if suite.bulk is None or not is_tls13(version):
        raise ValueError(f"{suite.name} has no cipher known here")
    key, iv = traffic_keys(suite, secret)
    # Drafts before 25 had no additional data (draft-ietf-tls-tls13-24 section 5.2).
    draft = version >> 8 == 0x7F and version & 0xFF < 25
    kind = ADDITIONAL_NONE if draft else ADDITIONAL_HEADER
    return MaskedNonceOpener(_aead(suite.bulk, key), iv, kind, TAG_LENGTHS[suite.bulk.mode])


def _aead(bulk: BulkCipher, key: bytes) -> object:
    direct = libcrypto.cipher(bulk.mode, key)
    if direct is not None:
        return direct
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

    if bulk.mode == "chacha20":
        return ChaCha20Poly1305(key)
    if bulk.mode == "gcm":
        return AESGCM(key)
    if bulk.mode in AEAD_MODES:
        return AESCCM(key, TAG_LENGTHS[bulk.mode])
    raise ValueError(f"{bulk.algorithm}-{bulk.mode} is no AEAD cipher")
