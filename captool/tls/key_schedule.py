"""The key schedule of TLS 1.0 to 1.2 (RFC 2246, 4346, 5246) with the extended master secret (RFC 7627), and that of SSL 3.0 (RFC 6101)."""

import hashlib
import hmac
from typing import Final, NamedTuple

from captool.tls.cipher_suites import CipherSuite
from captool.tls.hello import SSL_3_0, TLS_1_0, TLS_1_2

MASTER_SECRET_LENGTH: Final = 48
VERIFY_DATA_LENGTH: Final = 12  # RFC 5246 section 7.4.9
FINISHED_LABELS: Final = {True: b"client finished", False: b"server finished"}
SSL3_SENDERS: Final = {True: b"CLNT", False: b"SRVR"}  # RFC 6101 section 5.6.9
SSL3_MD5_PAD: Final = 48
SSL3_SHA1_PAD: Final = 40


class WriteKeys(NamedTuple):
    """What one side protects its records with (RFC 5246 section 6.3)."""

    mac_key: bytes
    key: bytes
    iv: bytes

    def __repr__(self) -> str:
        return "WriteKeys()"


def prf(version: int, prf_hash: str, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """The pseudorandom function of `version`: RFC 5246 section 5 for TLS 1.2, RFC 2246 section 5 before it.

    `prf_hash` counts for TLS 1.2 only.
    """
    if version >= TLS_1_2:
        return p_hash(prf_hash, secret, label + seed, length)
    half = (len(secret) + 1) // 2  # the halves share a byte where the length is odd
    md5 = p_hash("md5", secret[:half], label + seed, length)
    sha1 = p_hash("sha1", secret[len(secret) - half :], label + seed, length)
    return bytes(a ^ b for a, b in zip(md5, sha1, strict=True))


def p_hash(hash_name: str, secret: bytes, seed: bytes, length: int) -> bytes:
    """P_hash of RFC 5246 section 5."""
    output = bytearray()
    a = seed
    while len(output) < length:
        a = hmac.digest(secret, a, hash_name)
        output += hmac.digest(secret, a + seed, hash_name)
    return bytes(output[:length])


def master_secret(version: int, suite: CipherSuite, premaster: bytes, client_random: bytes, server_random: bytes) -> bytes:
    """RFC 5246 section 8.1; RFC 6101 section 6.1 for SSL 3.0."""
    if version == SSL_3_0:
        return _ssl3_expand(premaster, client_random + server_random, MASTER_SECRET_LENGTH)
    return prf(version, suite.prf_hash, premaster, b"master secret", client_random + server_random, MASTER_SECRET_LENGTH)


def extended_master_secret(version: int, suite: CipherSuite, premaster: bytes, handshake: bytes) -> bytes:
    """RFC 7627 section 4; `handshake` is every message from ClientHello to ClientKeyExchange."""
    session_hash = transcript_hash(version, suite, handshake)
    return prf(version, suite.prf_hash, premaster, b"extended master secret", session_hash, MASTER_SECRET_LENGTH)


def write_keys(version: int, suite: CipherSuite, master: bytes, client_random: bytes, server_random: bytes) -> tuple[WriteKeys, WriteKeys]:
    """The key block cut into the client's and the server's keys (RFC 5246 section 6.3)."""
    bulk = suite.bulk
    if bulk is None:
        raise ValueError(f"{suite.name} has no cipher known here")
    mac_length = hashlib.new(suite.mac, usedforsecurity=False).digest_size if suite.mac else 0
    iv_length = {"gcm": 4, "ccm": 4, "ccm_8": 4, "chacha20": 12}.get(bulk.mode, 0)
    if bulk.mode == "cbc" and version <= TLS_1_0:
        iv_length = bulk.block_length
    length = 2 * (mac_length + bulk.key_length + iv_length)
    if version == SSL_3_0:
        block = _ssl3_expand(master, server_random + client_random, length)
    else:
        block = prf(version, suite.prf_hash, master, b"key expansion", server_random + client_random, length)
    parts = []
    for size in (mac_length, bulk.key_length, iv_length):
        parts.append((block[:size], block[size : 2 * size]))
        block = block[2 * size :]
    (client_mac, server_mac), (client_key, server_key), (client_iv, server_iv) = parts
    return WriteKeys(client_mac, client_key, client_iv), WriteKeys(server_mac, server_key, server_iv)


def verify_data(version: int, suite: CipherSuite, master: bytes, handshake: bytes, *, by_client: bool) -> bytes:
    """The content of Finished (RFC 5246 section 7.4.9) after the messages `handshake`; 36 bytes in SSL 3.0, else 12."""
    if version == SSL_3_0:
        return _ssl3_verify_data(master, handshake + SSL3_SENDERS[by_client])
    digest = transcript_hash(version, suite, handshake)
    return prf(version, suite.prf_hash, master, FINISHED_LABELS[by_client], digest, VERIFY_DATA_LENGTH)


def transcript_hash(version: int, suite: CipherSuite, handshake: bytes) -> bytes:
    """Hash of handshake messages: by the suite's hash in TLS 1.2, MD5 and SHA-1 side by side before it (RFC 2246 section 7.4.9)."""
    if version >= TLS_1_2:
        return hashlib.new(suite.prf_hash, handshake).digest()
    return hashlib.md5(handshake, usedforsecurity=False).digest() + hashlib.sha1(handshake, usedforsecurity=False).digest()


def _ssl3_expand(secret: bytes, seed: bytes, length: int) -> bytes:
    """RFC 6101 sections 6.1 and 6.2.2: MD5(secret + SHA('A' + secret + seed)) + MD5(... 'BB' ...) + ..."""
    output = bytearray()
    for count in range(1, 27):
        salt = bytes([0x40 + count]) * count
        inner = hashlib.sha1(salt + secret + seed, usedforsecurity=False).digest()
        output += hashlib.md5(secret + inner, usedforsecurity=False).digest()
        if len(output) >= length:
            break
    return bytes(output[:length])


def _ssl3_verify_data(master: bytes, handshake_and_sender: bytes) -> bytes:
    output = b""
    for hash_name, pad in (("md5", SSL3_MD5_PAD), ("sha1", SSL3_SHA1_PAD)):
        inner = hashlib.new(hash_name, handshake_and_sender + master + b"\x36" * pad, usedforsecurity=False).digest()
        output += hashlib.new(hash_name, master + b"\x5c" * pad + inner, usedforsecurity=False).digest()
    return output
