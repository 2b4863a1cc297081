"""Records under AEAD ciphers opened: nonce and additional data, made anew for every record. Compiled; runs uncompiled as well.

TLS 1.2: AES-GCM (RFC 5288 section 3), AES-CCM (RFC 6655 section 3), ChaCha20-Poly1305 (RFC 7905 section 2). TLS 1.3: RFC 8446 section 5.2.
"""

# ruff: noqa: F821 - memcpy and its like come from aead_protection.pxd

import cython
from cryptography.exceptions import InvalidTag

HEADER = cython.declare(cython.Py_ssize_t, 5)
EXPLICIT_NONCE = cython.declare(cython.Py_ssize_t, 8)
AEAD_FAULTS = (InvalidTag, ValueError)  # ValueError: longer than CCM's nonce allows

# The additional data of a cipher whose nonce is masked: none, the record's header, or sequence number, header and length of content.
ADDITIONAL_NONE = 0
ADDITIONAL_HEADER = 1
ADDITIONAL_NUMBERED = 2

# Content from this length on is decrypted where it is to stand; views cost more than a copy of less.
LARGE = cython.declare(cython.Py_ssize_t, 1024)


@cython.cclass
class AeadOpener:
    """What all AEAD ciphers share; `before` bytes of a record stand before its ciphertext. `aead` is a cipher of cryptography."""

    def __init__(self, aead: object, before: cython.Py_ssize_t, tag_length: cython.Py_ssize_t) -> None:
        self.decrypt = aead.decrypt
        self.decrypt_into = getattr(aead, "decrypt_into", None)  # older releases lack it
        self.nonce = bytearray(12)
        self.additional = b""
        self.before = before
        self.tag_length = tag_length

    def __call__(self, sequence: cython.ulonglong, data: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        """The content of the record at `data[start:end]`, None where the tag does not verify."""
        record: bytes = data if isinstance(data, bytes) else bytes(data)
        length: cython.Py_ssize_t = end - start - self.before - self.tag_length
        if start < 0 or end > len(record) or length < 0:
            return None
        self.prepare(sequence, record, start, length)
        try:
            return self.decrypt(self.nonce, record[start + self.before : end], self.additional)
        except AEAD_FAULTS:
            return None

    @cython.cfunc
    @cython.exceptval(-2)
    def open_into(
        self,
        sequence: cython.ulonglong,
        record: bytes,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        record_view: object,
        out: bytearray,
        at: cython.Py_ssize_t,
        out_view: object,
    ) -> cython.Py_ssize_t:
        """Write the content of the record at `record[start:end]` to `out` from `at` on; its length, -1 where the tag does not verify.

        The views are those of `record` and `out`. What did not verify is wiped out of `out`.
        """
        content: cython.Py_ssize_t = start + self.before
        length: cython.Py_ssize_t = end - content - self.tag_length
        plain: bytes
        if length < 0:
            return -1
        if start < 0 or end > len(record) or at < 0 or at + length > len(out):
            raise IndexError("a record outside of its buffer")
        self.prepare(sequence, record, start, length)
        if length < LARGE or self.decrypt_into is None:
            try:
                plain = self.decrypt(self.nonce, record[content:end], self.additional)
            except AEAD_FAULTS:
                return -1
            if len(plain) != length:
                return -1
            if cython.compiled:
                memcpy(PyByteArray_AS_STRING(out) + at, PyBytes_AS_STRING(plain), length)
            else:
                out[at : at + length] = plain
            return length
        try:
            self.decrypt_into(self.nonce, record_view[content:end], self.additional, out_view[at : at + length])
        except AEAD_FAULTS:
            if cython.compiled:
                memset(PyByteArray_AS_STRING(out) + at, 0, length)
            else:
                out[at : at + length] = bytes(length)
            return -1
        return length

    @cython.cfunc
    @cython.exceptval(-1)
    def prepare(self, sequence: cython.ulonglong, record: bytes, start: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """Make nonce and additional data for the record at `start` whose content has this length.

        Abstract: compiled classes know no `abc`, and only those below are ever made.
        """
        raise NotImplementedError


@cython.cclass
class ExplicitNonceOpener(AeadOpener):
    """AES-GCM and AES-CCM of TLS 1.2: salt from the keys, the rest of the nonce in the record."""

    def __init__(self, aead: object, salt: bytes, tag_length: cython.Py_ssize_t) -> None:
        AeadOpener.__init__(self, aead, HEADER + EXPLICIT_NONCE, tag_length)
        self.nonce = bytearray(salt + bytes(EXPLICIT_NONCE))
        self.additional = bytearray(13)

    @cython.cfunc
    @cython.exceptval(-1)
    def prepare(self, sequence: cython.ulonglong, record: bytes, start: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """The nonce is the salt and what the record holds."""
        index: cython.Py_ssize_t
        first: cython.Py_ssize_t = len(self.nonce) - EXPLICIT_NONCE
        for index in range(EXPLICIT_NONCE):
            self.nonce[first + index] = record[start + HEADER + index]
        number(self.additional, sequence, record, start, length)
        return 0


@cython.cclass
class MaskedNonceOpener(AeadOpener):
    """ChaCha20-Poly1305 of TLS 1.2 and all of TLS 1.3: the nonce is the IV with the sequence number, nothing of it is in the record."""

    def __init__(self, aead: object, iv: bytes, kind: cython.int, tag_length: cython.Py_ssize_t) -> None:
        AeadOpener.__init__(self, aead, HEADER, tag_length)
        self.nonce = bytearray(iv)
        self.low = int.from_bytes(iv[4:12], "big")
        self.kind = kind
        if kind == ADDITIONAL_NUMBERED:
            self.additional = bytearray(13)

    @cython.cfunc
    @cython.exceptval(-1)
    def prepare(self, sequence: cython.ulonglong, record: bytes, start: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """The nonce is the IV with the sequence number in its last eight bytes."""
        if self.kind == ADDITIONAL_HEADER:
            self.additional = record[start : start + HEADER]
        elif self.kind == ADDITIONAL_NUMBERED:
            number(self.additional, sequence, record, start, length)
        big_endian(self.nonce, 4, self.low ^ sequence)
        return 0


@cython.cfunc
def big_endian(target: bytearray, at: cython.Py_ssize_t, value: cython.ulonglong) -> cython.int:
    """Write eight bytes."""
    index: cython.Py_ssize_t
    for index in range(8):
        target[at + index] = value >> (56 - 8 * index) & 0xFF
    return 0


@cython.cfunc
def number(
    target: bytearray, sequence: cython.ulonglong, record: bytes, start: cython.Py_ssize_t, length: cython.Py_ssize_t
) -> cython.int:
    """Write sequence number, content type, version and length of the content (RFC 5246 section 6.2.3.3)."""
    big_endian(target, 0, sequence)
    target[8] = record[start]
    target[9] = record[start + 1]
    target[10] = record[start + 2]
    target[11] = length >> 8 & 0xFF
    target[12] = length & 0xFF
    return 0
