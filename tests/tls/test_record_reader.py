"""The loop over records of application data against openers that are called for one record at a time."""

import ctypes.util
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from captool.analysis import hot_path_compiled
from captool.tls import libcrypto
from captool.tls.aead_protection import ADDITIONAL_HEADER, ADDITIONAL_NUMBERED, ExplicitNonceOpener, MaskedNonceOpener
from captool.tls.record_reader import RecordReader

SIZES = [1, 100, 0, 1007, 1008, 1023, 1024, 1025, 16384, 3]


class DecryptOnly:
    """A cipher of a cryptography that cannot decrypt into a buffer yet."""

    def __init__(self, cipher):
        self.decrypt = cipher.decrypt


def direct(aead):
    """The same cipher by the system's libcrypto."""
    mode, key = ("gcm", bytes(16)) if isinstance(aead, AESGCM) else ("chacha20", bytes(32))
    made = libcrypto.cipher(mode, key)
    if made is None and not (hot_path_compiled() and ctypes.util.find_library("crypto")):
        pytest.skip("not compiled, or no libcrypto here")
    return made


def header(length):
    return b"\x17\x03\x03" + length.to_bytes(2)


def numbered(sequence, content):
    return sequence.to_bytes(8) + header(len(content))


def masked(iv, sequence):
    return bytes(a ^ b for a, b in zip(iv, sequence.to_bytes(12), strict=True))


def gcm(content_of, cipher=lambda one: one):
    """TLS 1.2 with AES-GCM: opener, and records."""
    aead, salt = AESGCM(bytes(16)), b"salt"
    records = []
    for sequence, content in enumerate(content_of):
        explicit = os.urandom(8)
        fragment = explicit + aead.encrypt(salt + explicit, content, numbered(sequence, content))
        records.append(header(len(fragment)) + fragment)
    return ExplicitNonceOpener(cipher(aead), salt, 16), records


def chacha(content_of, cipher=lambda one: one):
    aead, iv = ChaCha20Poly1305(bytes(32)), bytes(range(12))
    sealed = [aead.encrypt(masked(iv, sequence), content, numbered(sequence, content)) for sequence, content in enumerate(content_of)]
    return MaskedNonceOpener(cipher(aead), iv, ADDITIONAL_NUMBERED, 16), [header(len(one)) + one for one in sealed]


def tls13(content_of, cipher=lambda one: one):
    aead, iv = AESGCM(bytes(16)), bytes(range(12))
    records = []
    for sequence, content in enumerate(content_of):
        head = header(len(content) + 1 + 16)
        records.append(head + aead.encrypt(masked(iv, sequence), content + b"\x17", head))
    return MaskedNonceOpener(cipher(aead), iv, ADDITIONAL_HEADER, 16), records


def reader_of(data):
    reader = RecordReader(1, [1000], [7], [7_000], len(data))
    reader.turn_to(data, 0, 1000)
    return reader


CIPHERS = pytest.mark.parametrize("suite", [gcm, chacha, tls13])
KINDS = pytest.mark.parametrize("cipher", [lambda one: one, DecryptOnly, direct], ids=["into", "decrypt-only", "direct"])


@KINDS
@CIPHERS
def test_records_of_all_sizes_are_read_as_one_by_one(suite, cipher):
    contents = [os.urandom(size) for size in SIZES]
    opener, records = suite(contents, cipher)
    reader, released = reader_of(b"".join(records) + records[0][:50]), []
    reader.read(opener, suite is tls13, released)
    (run,) = released
    assert b"".join(contents) == bytes(run.data)
    assert [content for content in contents if content] == [plain.data for plain in run.records()]
    assert (sum(map(len, records)), len(SIZES), sum(SIZES)) == (reader.position, reader.sequence, reader.opened)
    ends = [1000 + sum(map(len, records[: number + 1])) for number, content in enumerate(contents) if content]
    assert ends == [plain.stream_end for plain in run.records()]
    for sequence, (record, content) in enumerate(zip(records, contents, strict=True)):
        assert content + b"\x17" * (suite is tls13) == opener(sequence, b"xx" + record, 2, 2 + len(record))


@KINDS
@CIPHERS
@pytest.mark.parametrize("bad", range(len(SIZES)))
def test_nothing_of_a_record_that_does_not_authenticate_is_left_anywhere(suite, cipher, bad):
    contents = [bytes([65 + number]) * size for number, size in enumerate(SIZES)]
    opener, records = suite(contents, cipher)
    records[bad] = records[bad][:-1] + bytes([records[bad][-1] ^ 1])
    reader, released = reader_of(b"".join(records)), []
    reader.read(opener, suite is tls13, released)
    assert (sum(map(len, records[:bad])), bad) == (reader.position, reader.sequence)
    assert b"".join(contents[:bad]) == b"".join(bytes(run.data) for run in released)
    for run in released:  # not even behind what is shown
        behind = bytes(run.data.obj)[len(run.data) :][: SIZES[bad]]
        assert SIZES[bad] < 16 or contents[bad] != behind
    reader.read(opener, suite is tls13, released)
    assert bad == reader.sequence


@KINDS
@CIPHERS
@pytest.mark.parametrize("cut", range(1, len(SIZES)))
def test_records_in_two_buffers_become_one_run_unless_another_came_between(suite, cipher, cut):
    contents = [os.urandom(size) for size in SIZES]
    opener, records = suite(contents, cipher)
    first, second = b"".join(records[:cut]), b"".join(records[cut:])
    for between in ([], ["another"]):
        reader, released = RecordReader(1, [1000], [7], [7_000], len(first + second)), []
        reader.turn_to(first, 0, 1000)
        reader.read(opener, suite is tls13, released)
        released += between
        reader.turn_to(b"xx" + second, 2, 998 + len(first))
        reader.read(opener, suite is tls13, released)
        runs = [run for run in released if run not in between]
        assert (1 if not between else 2, sum(SIZES)) == (len(runs), reader.opened)
        assert [content for content in contents if content] == [plain.data for run in runs for plain in run.records()]
        ends = [1000 + sum(map(len, records[: number + 1])) for number, content in enumerate(contents) if content]
        assert ends == [plain.stream_end for run in runs for plain in run.records()]


def test_more_plaintext_than_there_is_room_for_is_refused():
    opener, records = gcm([b"text", b"more"])
    reader = RecordReader(1, [0], [0], [0], len(records[0]) - 30)
    reader.turn_to(b"".join(records), 0, 0)
    with pytest.raises(IndexError):
        reader.read(opener, False, [])


def test_what_is_no_application_data_inside_a_record_of_tls13_is_not_read_here():
    opener, _ = tls13([])
    for inner in (b"\x16", b"text\x17\0", b"", b"\x15"):
        aead, iv = AESGCM(bytes(16)), bytes(range(12))
        head = header(len(inner) + 16)
        reader, released = reader_of(head + aead.encrypt(masked(iv, 0), inner, head)), []
        reader.read(opener, True, released)
        assert ([], 0, 0) == (released, reader.position, reader.sequence)


@pytest.mark.parametrize("length", [0, 7, 8, 15, 23])
def test_a_record_shorter_than_nonce_and_tag_does_not_open(length):
    opener, _ = gcm([])
    reader, released = reader_of(header(length) + bytes(length)), []
    reader.read(opener, False, released)
    assert ([], 0) == (released, reader.position)
    assert opener(0, header(length) + bytes(length), 0, 5 + length) is None


@pytest.mark.parametrize(("mode", "length"), [("gcm", 16), ("gcm", 32), ("chacha20", 32)])
def test_libcrypto_decrypts_what_cryptography_encrypted_under_a_random_key(mode, length):
    direct({"gcm": AESGCM, "chacha20": ChaCha20Poly1305}[mode](bytes(length)))  # skips where there is none
    key, iv = os.urandom(length), os.urandom(12)
    aead = (AESGCM if mode == "gcm" else ChaCha20Poly1305)(key)
    opener = MaskedNonceOpener(libcrypto.cipher(mode, key), iv, ADDITIONAL_NUMBERED, 16)
    for sequence in (0, 1, (1 << 40) + 5, (1 << 64) - 1, 2):
        content = os.urandom(300)
        sealed = aead.encrypt(masked(iv, sequence), content, numbered(sequence, content))
        record = header(len(sealed)) + sealed
        assert content == opener(sequence, record, 0, len(record))
        for place in range(len(record)):
            if place not in (3, 4):  # the length counts as what it is, not as what the header says
                assert opener(sequence, record[:place] + bytes([record[place] ^ 1]) + record[place + 1 :], 0, len(record)) is None


@pytest.mark.parametrize(("mode", "length"), [("gcm", 24), ("gcm", 15), ("chacha20", 16), ("ccm", 16), ("cbc", 16)])
def test_what_libcrypto_is_not_asked_for_is_none(mode, length):
    assert libcrypto.cipher(mode, bytes(length)) is None


@pytest.mark.parametrize(("salt", "tag"), [(b"four", 8), (b"fiver", 16)])
def test_a_cipher_of_libcrypto_takes_no_other_nonce_or_tag(salt, tag):
    with pytest.raises(ValueError, match="another length"):
        ExplicitNonceOpener(direct(AESGCM(bytes(16))), salt, tag)
