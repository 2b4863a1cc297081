"""Records under CBC, stream ciphers and NULL with a MAC (RFC 5246 sections 6.2.3.1 and 6.2.3.2, RFC 7366, RFC 6101 section 5.2.3)."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC

from captool.tls.cipher_suites import BulkCipher, CipherSuite
from captool.tls.hello import SSL_3_0, TLS_1_1
from captool.tls.key_schedule import SSL3_MD5_PAD, SSL3_SHA1_PAD, WriteKeys

HEADER_LENGTH: Final = 5
HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
}

OpenRecord = Callable[[int, bytes | memoryview, int, int], bytes | None]
# (sequence, first three bytes of the record header, content) -> MAC
RecordMac = Callable[[int, bytes | memoryview, bytes | memoryview], bytes]


def cbc_opener(version: int, suite: CipherSuite, keys: WriteKeys, *, encrypt_then_mac: bool) -> OpenRecord:
    """Block ciphers: MAC then encrypt, or the other way round where RFC 7366 was negotiated.

    One decryptor serves all records of a direction. CBC decrypts each block from itself and the block before it, so an explicit
    IV (TLS 1.1 and later) that is run through it comes out as one block of nothing, and makes what follows come out right whatever
    was decrypted before. Before TLS 1.1 the last block of a record is the IV of the next one anyway.
    """
    bulk, mac, mac_length = _parts(version, suite, keys)
    block = bulk.block_length
    iv_length = block if version >= TLS_1_1 else 0
    mode = modes.CBC(keys.iv or bytes(block))
    decrypt = Cipher(_algorithm(bulk, keys.key), mode).decryptor().update
    open_cipher = _encrypt_then_mac if encrypt_then_mac else _mac_then_encrypt
    return open_cipher(decrypt, mac, mac_length, block, iv_length, check_padding=version != SSL_3_0)


def stream_opener(version: int, suite: CipherSuite, keys: WriteKeys) -> OpenRecord:
    """Stream ciphers and the NULL cipher: content and MAC (RFC 5246 section 6.2.3.1)."""
    bulk, mac, mac_length = _parts(version, suite, keys)
    decrypt: Callable[[bytes | memoryview], bytes] = bytes
    if bulk.mode == "stream":
        decrypt = Cipher(_algorithm(bulk, keys.key), None).decryptor().update

    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        if end - start - HEADER_LENGTH < mac_length:
            return None
        plain = decrypt(data[start + HEADER_LENGTH : end])
        content_end = len(plain) - mac_length
        content = plain[:content_end]
        if not hmac.compare_digest(mac(sequence, data[start : start + 3], content), plain[content_end:]):
            return None
        return content

    return open_record


def _mac_then_encrypt(
    decrypt: Callable[[bytes | memoryview], bytes], mac: RecordMac, mac_length: int, block: int, iv_length: int, *, check_padding: bool
) -> OpenRecord:
    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        length = end - start - HEADER_LENGTH
        if length % block or length < iv_length + mac_length + 1:
            return None
        plain = decrypt(data[start + HEADER_LENGTH : end])
        padding = plain[-1]
        content_end = length - 1 - padding - mac_length
        if content_end < iv_length:
            return None
        if check_padding and plain.count(padding, length - 1 - padding) != padding + 1:
            return None
        content = plain[iv_length:content_end]
        if not hmac.compare_digest(mac(sequence, data[start : start + 3], content), plain[content_end : length - 1 - padding]):
            return None
        return content

    return open_record


def _encrypt_then_mac(
    decrypt: Callable[[bytes | memoryview], bytes], mac: RecordMac, mac_length: int, block: int, iv_length: int, *, check_padding: bool
) -> OpenRecord:
    """RFC 7366 section 3: the MAC covers the IV and the ciphertext."""

    def open_record(sequence: int, data: bytes | memoryview, start: int, end: int) -> bytes | None:
        mac_start = end - mac_length
        protected = data[start + HEADER_LENGTH : mac_start]
        length = len(protected)
        if length % block or length < iv_length + block:
            return None
        if not hmac.compare_digest(mac(sequence, data[start : start + 3], protected), data[mac_start:end]):
            return None
        plain = decrypt(protected)
        padding = plain[-1]
        content_end = length - 1 - padding
        if content_end < iv_length or (check_padding and plain.count(padding, content_end) != padding + 1):
            return None
        return plain[iv_length:content_end]

    return open_record


def _parts(version: int, suite: CipherSuite, keys: WriteKeys) -> tuple[BulkCipher, RecordMac, int]:
    if suite.bulk is None or suite.mac is None:
        raise ValueError(f"{suite.name} has no cipher and MAC known here")
    mac = _ssl3_mac(suite.mac, keys.mac_key) if version == SSL_3_0 else _hmac(suite.mac, keys.mac_key)
    return suite.bulk, mac, hashlib.new(suite.mac, usedforsecurity=False).digest_size


def _hmac(hash_name: str, mac_key: bytes) -> RecordMac:
    keyed = HMAC(mac_key, HASHES[hash_name]())

    def mac(sequence: int, header: bytes | memoryview, content: bytes | memoryview) -> bytes:
        state = keyed.copy()
        state.update(sequence.to_bytes(8) + header + len(content).to_bytes(2))
        state.update(content)
        return state.finalize()

    return mac


def _ssl3_mac(hash_name: str, mac_key: bytes) -> RecordMac:
    """RFC 6101 section 5.2.3.1; the version is not part of it."""
    pad = SSL3_MD5_PAD if hash_name == "md5" else SSL3_SHA1_PAD

    def mac(sequence: int, header: bytes | memoryview, content: bytes | memoryview) -> bytes:
        covered = sequence.to_bytes(8) + header[:1] + len(content).to_bytes(2) + content
        inner = hashlib.new(hash_name, mac_key + b"\x36" * pad + covered, usedforsecurity=False).digest()
        return hashlib.new(hash_name, mac_key + b"\x5c" * pad + inner, usedforsecurity=False).digest()

    return mac


def _algorithm(bulk: BulkCipher, key: bytes) -> Any:  # noqa: ANN401  # a cipher algorithm; the two modules share no public type
    if bulk.algorithm == "AES":
        return algorithms.AES(key)
    # The outdated ciphers moved to their own module in cryptography 43 and later.
    from cryptography.hazmat.decrepit.ciphers import algorithms as outdated  # seldom needed

    if bulk.algorithm == "DES":
        return outdated.TripleDES(key * 3)
    classes = {"3DES": "TripleDES", "RC4": "ARC4", "Camellia": "Camellia", "SEED": "SEED", "IDEA": "IDEA"}
    name = classes[bulk.algorithm]
    return getattr(outdated if hasattr(outdated, name) else algorithms, name)(key)
