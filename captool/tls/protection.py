"""Record protection taken off: one opener for each direction and key, made from the negotiated suite.

An `Opener` is called with the record's sequence number and its place in a buffer, header included, and gives the authenticated
content (for TLS 1.3 with content type and padding still at its end), or None where tag, MAC or padding do not verify.
Nothing that did not verify ever leaves it.
"""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from captool.tls.block_protection import cbc_opener, stream_opener
from captool.tls.cipher_suites import AEAD_MODES, BulkCipher, CipherSuite
from captool.tls.hello import is_tls13
from captool.tls.key_schedule import WriteKeys
from captool.tls.traffic_secrets import NONCE_LENGTH, traffic_keys

Opener = Callable[[int, bytes | memoryview, int, int], bytes | None]
Decrypt = Callable[[bytes, bytes | memoryview, bytes | memoryview], bytes]

HEADER_LENGTH: Final = 5
TAG_LENGTHS: Final = {"gcm": 16, "ccm": 16, "ccm_8": 8, "chacha20": 16}
EXPLICIT_NONCE_LENGTH: Final = 8  # RFC 5288 section 3, RFC 6655 section 3
AEAD_FAULTS: Final = (InvalidTag, ValueError)  # ValueError: shorter than a tag, or longer than CCM's nonce allows


def opener(version: int, suite: CipherSuite, keys: WriteKeys, *, encrypt_then_mac: bool) -> Opener:
    """The opener of a direction in TLS 1.2 and before (RFC 5246 section 6.2.3)."""
    bulk = suite.bulk
    if bulk is None:
        raise ValueError(f"{suite.name} has no cipher known here")
    if bulk.mode == "chacha20":
        return _chacha20_opener(_decrypt(bulk, keys.key), keys.iv)
    if bulk.mode in AEAD_MODES:
        return _explicit_nonce_opener(_decrypt(bulk, keys.key), keys.iv, TAG_LENGTHS[bulk.mode])
    if bulk.mode == "cbc":
        return cbc_opener(version, suite, keys, encrypt_then_mac=encrypt_then_mac)
    return stream_opener(version, suite, keys)


def opener13(version: int, suite: CipherSuite, secret: bytes) -> Opener:
    """The opener of a direction in TLS 1.3 (RFC 8446 section 5.2) under a traffic secret."""
    if suite.bulk is None or not is_tls13(version):
        raise ValueError(f"{suite.name} has no cipher known here")
    key, iv = traffic_keys(suite, secret)
    decrypt = _decrypt(suite.bulk, key)
    mask = int.from_bytes(iv)
    # Drafts before 25 had no additional data (draft-ietf-tls-tls13-24 section 5.2).
    if version >> 8 == 0x7F and version & 0xFF < 25:
        return _opener13_without_header(decrypt, mask)

    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        content = start + HEADER_LENGTH
        try:
            return decrypt((mask ^ sequence).to_bytes(NONCE_LENGTH), data[content:end], data[start:content])
        except AEAD_FAULTS:
            return None

    return open_record


def _opener13_without_header(decrypt: Decrypt, mask: int) -> Opener:
    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        try:
            return decrypt((mask ^ sequence).to_bytes(NONCE_LENGTH), data[start + HEADER_LENGTH : end], b"")
        except AEAD_FAULTS:
            return None

    return open_record


def _explicit_nonce_opener(decrypt: Decrypt, salt: bytes, tag_length: int) -> Opener:
    """AES-GCM (RFC 5288 section 3) and AES-CCM (RFC 6655 section 3): salt from the keys, the rest of the nonce in the record."""
    overhead = HEADER_LENGTH + EXPLICIT_NONCE_LENGTH + tag_length

    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        length = end - start - overhead
        if length < 0:
            return None
        content = start + HEADER_LENGTH + EXPLICIT_NONCE_LENGTH
        additional = sequence.to_bytes(8) + data[start : start + 3] + length.to_bytes(2)
        try:
            return decrypt(salt + data[start + HEADER_LENGTH : content], data[content:end], additional)
        except AEAD_FAULTS:
            return None

    return open_record


def _chacha20_opener(decrypt: Decrypt, iv: bytes) -> Opener:
    """RFC 7905 section 2: the nonce is the IV with the sequence number, nothing of it is in the record."""
    mask = int.from_bytes(iv)
    overhead = HEADER_LENGTH + TAG_LENGTHS["chacha20"]

    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        length = end - start - overhead
        if length < 0:
            return None
        additional = sequence.to_bytes(8) + data[start : start + 3] + length.to_bytes(2)
        try:
            return decrypt((mask ^ sequence).to_bytes(NONCE_LENGTH), data[start + HEADER_LENGTH : end], additional)
        except AEAD_FAULTS:
            return None

    return open_record


def _decrypt(bulk: BulkCipher, key: bytes) -> Decrypt:
    if bulk.mode == "chacha20":
        return ChaCha20Poly1305(key).decrypt
    if bulk.mode == "gcm":
        return AESGCM(key).decrypt
    if bulk.mode in AEAD_MODES:
        return AESCCM(key, TAG_LENGTHS[bulk.mode]).decrypt
    raise ValueError(f"{bulk.algorithm}-{bulk.mode} is no AEAD cipher")
