"""Record protection against a naive sender: every kind, every version, and no content from a changed bit."""

import hashlib
import hmac
import os

import pytest
from cryptography.hazmat.decrepit.ciphers import algorithms as outdated
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from captool.tls.cipher_suites import cipher_suite
from captool.tls.hello import SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2
from captool.tls.key_schedule import WriteKeys
from captool.tls.protection import opener

CBC_SUITES = {
    0x000A: outdated.TripleDES,
    0x0009: lambda key: outdated.TripleDES(key * 3),
    0x0007: outdated.IDEA,
    0x0096: outdated.SEED,
    0x0041: outdated.Camellia,
    0x002F: algorithms.AES,
    0x0035: algorithms.AES,
    0x003C: algorithms.AES,
    0xC024: algorithms.AES,
}
AEAD_SUITES = {
    0x009C: AESGCM,
    0x009D: AESGCM,
    0xC09C: lambda key: AESCCM(key, 16),
    0xC0A1: lambda key: AESCCM(key, 8),
    0xCCA8: ChaCha20Poly1305,
}
CONTENTS = [b"", b"x", b"fifteen bytes..", b"sixteen bytes...", os.urandom(1000), bytes(16384)]


def write_keys(suite, version):
    bulk = suite.bulk
    iv = {"gcm": 4, "ccm": 4, "ccm_8": 4, "chacha20": 12, "cbc": bulk.block_length}.get(bulk.mode, 0)
    mac = hashlib.new(suite.mac).digest_size if suite.mac else 0
    return WriteKeys(os.urandom(mac), os.urandom(bulk.key_length), os.urandom(iv if bulk.mode != "cbc" or version <= TLS_1_0 else 0))


def header(version, length):
    return b"\x17" + version.to_bytes(2) + length.to_bytes(2)


def record_mac(suite, version, key, sequence, content):
    if version == SSL_3_0:
        pad = 48 if suite.mac == "md5" else 40
        covered = sequence.to_bytes(8) + b"\x17" + len(content).to_bytes(2) + content
        inner = hashlib.new(suite.mac, key + b"\x36" * pad + covered).digest()
        return hashlib.new(suite.mac, key + b"\x5c" * pad + inner).digest()
    return hmac.digest(key, sequence.to_bytes(8) + header(version, len(content)) + content, suite.mac)


def cbc_sender(number, version, keys, *, encrypt_then_mac):
    suite = cipher_suite(number)
    block = suite.bulk.block_length
    last = keys.iv

    def send(sequence, content):
        nonlocal last
        iv = os.urandom(block) if version >= TLS_1_1 else last
        plain = content if encrypt_then_mac else content + record_mac(suite, version, keys.mac_key, sequence, content)
        padding = block - 1 - len(plain) % block
        encryptor = Cipher(CBC_SUITES[number](keys.key), modes.CBC(iv)).encryptor()
        sealed = encryptor.update(plain + bytes([padding]) * (padding + 1))
        last = sealed[-block:]
        fragment = (iv if version >= TLS_1_1 else b"") + sealed
        if encrypt_then_mac:
            fragment += record_mac(suite, version, keys.mac_key, sequence, fragment)
        return header(version, len(fragment)) + fragment

    return send


@pytest.mark.parametrize("encrypt_then_mac", [False, True])
@pytest.mark.parametrize("version", [SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2])
@pytest.mark.parametrize("number", CBC_SUITES)
def test_block_ciphers(number, version, encrypt_then_mac):
    if version == SSL_3_0 and encrypt_then_mac:
        return  # RFC 7366 is not for SSL 3.0
    suite = cipher_suite(number)
    keys = write_keys(suite, version)
    send = cbc_sender(number, version, keys, encrypt_then_mac=encrypt_then_mac)
    open_record = opener(version, suite, keys, encrypt_then_mac=encrypt_then_mac)
    for sequence, content in enumerate(CONTENTS):
        data = b"before" + send(sequence, content) + b"behind"
        assert content == open_record(sequence, data, 6, len(data) - 6)


@pytest.mark.parametrize("encrypt_then_mac", [False, True])
@pytest.mark.parametrize("number", [0x002F, 0x000A])
def test_block_cipher_records_with_a_changed_bit_stay_closed(number, encrypt_then_mac):
    suite = cipher_suite(number)
    keys = write_keys(suite, TLS_1_2)
    send = cbc_sender(number, TLS_1_2, keys, encrypt_then_mac=encrypt_then_mac)
    open_record = opener(TLS_1_2, suite, keys, encrypt_then_mac=encrypt_then_mac)
    record = send(0, b"some content that is longer than a block")
    for at in range(5, len(record)):
        for bit in range(8):
            damaged = record[:at] + bytes([record[at] ^ (1 << bit)]) + record[at + 1 :]
            assert open_record(0, damaged, 0, len(damaged)) is None
    for length in range(5, len(record)):
        assert open_record(0, record, 0, length) is None
    assert open_record(1, record, 0, len(record)) is None
    assert open_record(0, record, 0, len(record)) is not None


@pytest.mark.parametrize("version", [SSL_3_0, TLS_1_0, TLS_1_2])
@pytest.mark.parametrize("number", [0x0005, 0x0004, 0x0001, 0x0002, 0x003B])
def test_stream_ciphers_and_null(number, version):
    suite = cipher_suite(number)
    keys = write_keys(suite, version)
    open_record = opener(version, suite, keys, encrypt_then_mac=False)
    encrypt = Cipher(outdated.ARC4(keys.key), None).encryptor().update if suite.bulk.mode == "stream" else bytes
    for sequence, content in enumerate(CONTENTS):
        fragment = encrypt(content + record_mac(suite, version, keys.mac_key, sequence, content))
        record = header(version, len(fragment)) + fragment
        assert content == open_record(sequence, record, 0, len(record))
    damaged = record[:-1] + bytes([record[-1] ^ 1])
    assert open_record(len(CONTENTS), damaged, 0, len(damaged)) is None
    assert open_record(0, b"\x17\x03\x03\x00\x01x", 0, 6) is None


@pytest.mark.parametrize("number", AEAD_SUITES)
def test_aead(number):
    suite = cipher_suite(number)
    keys = write_keys(suite, TLS_1_2)
    cipher = AEAD_SUITES[number](keys.key)
    open_record = opener(TLS_1_2, suite, keys, encrypt_then_mac=False)
    for sequence, content in enumerate(CONTENTS):
        if len(keys.iv) == 4:
            explicit = os.urandom(8)  # need not be the sequence number
            nonce = keys.iv + explicit
        else:
            explicit, nonce = b"", bytes(a ^ b for a, b in zip(keys.iv, sequence.to_bytes(12), strict=True))
        fragment = explicit + cipher.encrypt(nonce, content, sequence.to_bytes(8) + header(TLS_1_2, len(content)))
        record = header(TLS_1_2, len(fragment)) + fragment
        assert content == open_record(sequence, record, 0, len(record))
        assert content == open_record(sequence, memoryview(record), 0, len(record))
        assert open_record(sequence + 1, record, 0, len(record)) is None
        for at in (0, 5, len(record) // 2, len(record) - 1):
            damaged = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
            assert open_record(sequence, damaged, 0, len(damaged)) is None
    for length in range(5, 30):
        assert open_record(0, record, 0, length) is None
