"""Records under AEAD ciphers opened: nonce and additional data, made anew for every record. Compiled; runs uncompiled as well.

The cipher is one of libcrypto.py or, where that has none, one of cryptography's.

TLS 1.2: AES-GCM (RFC 5288 section 3), AES-CCM (RFC 6655 section 3), ChaCha20-Poly1305 (RFC 7905 section 2). TLS 1.3: RFC 8446 section 5.2.
"""

# ruff: noqa: F821, PLR0911 - memcpy and its like come from aead_protection.pxd

import cython

if not cython.compiled:  # compiled, it comes from aead_protection.pxd
    from captool.tls.libcrypto import Cipher

HEADER = cython.declare(cython.Py_ssize_t, 5)
EXPLICIT_NONCE = cython.declare(cython.Py_ssize_t, 8)

# The additional data of a cipher whose nonce is masked: none, the record's header, or sequence number, header and length of content.
ADDITIONAL_NONE = 0
ADDITIONAL_HEADER = 1
ADDITIONAL_NUMBERED = 2
NUMBERED_LENGTH = 13
ADDITIONAL_LENGTHS = (0, HEADER, NUMBERED_LENGTH)
NONCE_LENGTH = 12  # of the ciphers of libcrypto.py, and their tags
TAG_LENGTH = 16

# Content from this length on is decrypted where it is to stand; views cost more than a copy of less.
LARGE = cython.declare(cython.Py_ssize_t, 1024)


@cython.cclass
class AeadOpener:
    """What all AEAD ciphers share; `before` bytes of a record stand before its ciphertext."""

    def __init__(self, aead: object, nonce: bytes, before: cython.Py_ssize_t, additional: int, tag_length: cython.Py_ssize_t) -> None:
        self.direct = aead if isinstance(aead, Cipher) else None
        if self.direct is None:
            from cryptography.exceptions import InvalidTag

            self.faults = (InvalidTag, ValueError)  # ValueError: longer than CCM's nonce allows
            self.decrypt = aead.decrypt
            self.decrypt_into = getattr(aead, "decrypt_into", None)  # older releases lack it
        elif len(nonce) != NONCE_LENGTH or tag_length != TAG_LENGTH:
            raise ValueError("a nonce or tag of another length than the cipher's")
        self.nonce = bytearray(nonce)
        self.additional = bytearray(additional)
        self.before = before
        self.tag_length = tag_length

    def __call__(self, sequence: cython.ulonglong, data: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        """The content of the record at `data[start:end]`, None where the tag does not verify."""
        record: bytes = data if isinstance(data, bytes) else bytes(data)
        length: cython.Py_ssize_t = end - start - self.before - self.tag_length
        if start < 0 or end > len(record) or length < 0:
            return None
        self.prepare(sequence, record, start, length)
        if self.direct is not None:
            plain = bytearray(length)
            return bytes(plain) if self.open_direct(record, start + self.before, length, plain, 0) >= 0 else None
        try:
            return self.decrypt(self.nonce, record[start + self.before : end], self.additional)
        except self.faults:
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
        if self.direct is not None:
            return self.open_direct(record, content, length, out, at)
        if length < LARGE or self.decrypt_into is None:
            try:
                plain = self.decrypt(self.nonce, record[content:end], self.additional)
            except self.faults:
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
        except self.faults:
            if cython.compiled:
                memset(PyByteArray_AS_STRING(out) + at, 0, length)
            else:
                out[at : at + length] = bytes(length)
            return -1
        return length

    @cython.cfunc
    @cython.exceptval(-2)
    def open_direct(
        self, record: bytes, content: cython.Py_ssize_t, length: cython.Py_ssize_t, out: bytearray, at: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """As `open_into`, once nonce and additional data are made: by libcrypto, from pointers whose bounds are checked here."""
        if content < 0 or length < 0 or content + length + self.tag_length > len(record) or at < 0 or at + length > len(out):
            raise IndexError("a record outside of its buffer")
        target: cython.p_uchar = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(out)) + at
        verified: cython.bint = self.direct.open(
            cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.nonce)),
            cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.additional)),
            len(self.additional),
            cython.cast(cython.p_uchar, PyBytes_AS_STRING(record)) + content,
            length,
            target,
        )
        if not verified:
            memset(target, 0, length)
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
        AeadOpener.__init__(self, aead, salt + bytes(EXPLICIT_NONCE), HEADER + EXPLICIT_NONCE, NUMBERED_LENGTH, tag_length)

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
        AeadOpener.__init__(self, aead, iv, HEADER, ADDITIONAL_LENGTHS[kind], tag_length)
        self.low = int.from_bytes(iv[4:12], "big")
        self.kind = kind

    @cython.cfunc
    @cython.exceptval(-1)
    def prepare(self, sequence: cython.ulonglong, record: bytes, start: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """The nonce is the IV with the sequence number in its last eight bytes."""
        index: cython.Py_ssize_t
        if self.kind == ADDITIONAL_HEADER:
            for index in range(HEADER):
                self.additional[index] = record[start + index]
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
