"""Records under AEAD ciphers opened: nonce and additional data, made anew for every record. Compiled; runs uncompiled as well.

The cipher is one of libcrypto.py or, where that has none, one of cryptography's.

TLS 1.2: AES-GCM (RFC 5288 section 3), AES-CCM (RFC 6655 section 3), ChaCha20-Poly1305 (RFC 7905 section 2). TLS 1.3: RFC 8446 section 5.2.
"""

# ruff: noqa: ARG002, F821, PLR0911 - memcpy and its like come from aead_protection.pxd

import cython

if not cython.compiled:  # compiled, it comes from aead_protection.pxd
    from captool.tls.libcrypto import Cipher

HEADER = cython.declare(cython.Py_ssize_t, 5)
APPLICATION_DATA = cython.declare(cython.int, 23)
EXPLICIT_NONCE = cython.declare(cython.Py_ssize_t, 8)

# The additional data of a cipher whose nonce is masked: none, the record's header, or sequence number, header and length of content.
ADDITIONAL_NONE = 0
ADDITIONAL_HEADER = 1
ADDITIONAL_NUMBERED = 2
WITH_HEADER = cython.declare(cython.int, 1)  # the same as numbers that need no look into the module
WITH_NUMBER = cython.declare(cython.int, 2)
NUMBERED_LENGTH = cython.declare(cython.int, 13)
ADDITIONAL_LENGTHS = (0, HEADER, NUMBERED_LENGTH)
NONCE_LENGTH = cython.declare(cython.Py_ssize_t, 12)  # of all AEAD ciphers of TLS
TAG_LENGTH = cython.declare(cython.Py_ssize_t, 16)  # of the ciphers of libcrypto.py

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
        elif tag_length != TAG_LENGTH:
            raise ValueError("a tag of another length than the cipher's")
        if len(nonce) != NONCE_LENGTH or additional > NUMBERED_LENGTH:
            raise ValueError("a nonce or additional data of another length than TLS has")
        self.beside = None
        self.nonce = bytearray(nonce)
        self.additional = bytearray(additional)
        self.additional_length = additional
        if cython.compiled:
            memcpy(self.nonce_bytes, PyByteArray_AS_STRING(self.nonce), NONCE_LENGTH)
        self.before = before
        self.tag_length = tag_length

    def __call__(self, sequence: cython.ulonglong, data: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        """The content of the record at `data[start:end]`, None where the tag does not verify."""
        record: bytes = data if isinstance(data, bytes) else bytes(data)
        length: cython.Py_ssize_t = end - start - self.before - self.tag_length
        if start < 0 or end > len(record) or length < 0:
            return None
        if self.direct is not None:
            plain = bytearray(length)
            return bytes(plain) if self.open_direct(sequence, record, start, length, plain, 0) >= 0 else None
        self.prepare_own(sequence, record, start, length)
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
        if self.direct is not None:
            return self.open_direct(sequence, record, start, length, out, at)
        self.prepare_own(sequence, record, start, length)
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
        self,
        sequence: cython.ulonglong,
        record: bytes,
        start: cython.Py_ssize_t,
        length: cython.Py_ssize_t,
        out: bytearray,
        at: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """As `open_into`, by libcrypto, from pointers whose bounds are checked here."""
        if start < 0 or length < 0 or start + self.before + length + TAG_LENGTH > len(record) or at < 0 or at + length > len(out):
            raise IndexError("a record outside of its buffer")
        verified: cython.bint = self.open_one(
            self.direct,
            sequence,
            cython.cast(cython.p_uchar, PyBytes_AS_STRING(record)) + start,
            length,
            cython.cast(cython.p_uchar, PyByteArray_AS_STRING(out)) + at,
            cython.NULL,
        )
        return length if verified else -1

    @cython.cfunc
    def has_another(self) -> cython.bint:
        """Whether another thread can open records, by a context of its own (`beside`), while this one opens others."""
        if self.beside is None and self.direct is not None:
            self.beside = self.direct.copy()
        return self.beside is not None

    @cython.cfunc
    def around(self, tls13: cython.bint) -> cython.Py_ssize_t:
        """How many bytes a record has beside its content; in TLS 1.3 the content's type is one of them, and there is no padding."""
        return self.before + self.tag_length + (1 if tls13 else 0)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open_run(
        self,
        cipher: Cipher,
        sequence: cython.ulonglong,
        record: cython.p_const_uchar,
        size: cython.Py_ssize_t,
        out: cython.p_uchar,
        tls13: cython.bint,
    ) -> cython.bint:
        """Open `size` bytes, whole records of which each has room for what stands around its content, by a cipher of this key.

        Their content comes to `out`, one behind the other. True where all of them verify, and those of TLS 1.3 are application data
        without padding; else nothing of what is in `out` may be used, and what did not verify is wiped.
        """
        before: cython.Py_ssize_t = self.before + TAG_LENGTH
        length: cython.Py_ssize_t
        kind: cython.uchar
        while size > 0:
            length = (record[3] << 8 | record[4]) + HEADER
            size -= length
            # The type that ends a content of TLS 1.3 is where the next one begins; behind the last one another thread may be writing.
            if not self.open_one(
                cipher, sequence, record, length - before, out, cython.address(kind) if tls13 and size <= 0 else cython.NULL
            ):
                return False
            out += length - before
            record += length
            sequence += 1
            if tls13:
                out -= 1
                if (kind if size <= 0 else out[0]) != APPLICATION_DATA:
                    return False
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open_one(
        self,
        cipher: Cipher,
        sequence: cython.ulonglong,
        record: cython.p_const_uchar,
        length: cython.Py_ssize_t,
        out: cython.p_uchar,
        last: cython.p_uchar,
    ) -> cython.bint:
        """Open one record whose content has this length, by a cipher of this key; what does not verify is wiped. See `Cipher.open`."""
        nonce: cython.uchar[12]
        additional: cython.uchar[13]
        memcpy(nonce, self.nonce_bytes, NONCE_LENGTH)
        self.prepare(sequence, record, 0, length, nonce, additional)
        if cipher.open(nonce, additional, self.additional_length, record + self.before, length, out, last):
            return True
        memset(out, 0, length - 1 if last != cython.NULL and length else length)
        return False

    @cython.cfunc
    @cython.exceptval(-1)
    def prepare_own(self, sequence: cython.ulonglong, record: bytes, start: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """Make `nonce` and `additional` for the record at `start` of `record`, where the caller knows that one stands."""
        if cython.compiled:
            self.prepare(
                sequence,
                cython.cast(cython.p_uchar, PyBytes_AS_STRING(record)),
                start,
                length,
                cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.nonce)),
                cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.additional)),
            )
        else:
            self.prepare(sequence, record, start, length, self.nonce, self.additional)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def prepare(
        self,
        sequence: cython.ulonglong,
        record: cython.p_const_uchar,
        start: cython.Py_ssize_t,
        length: cython.Py_ssize_t,
        nonce: cython.p_uchar,
        additional: cython.p_uchar,
    ) -> cython.int:
        """Make nonce and additional data for the record at `start` whose content has this length; `nonce` holds what is the same in all.

        Abstract: compiled classes know no `abc`, and only those below are ever made.
        """
        return 0


@cython.cclass
class ExplicitNonceOpener(AeadOpener):
    """AES-GCM and AES-CCM of TLS 1.2: salt from the keys, the rest of the nonce in the record."""

    def __init__(self, aead: object, salt: bytes, tag_length: cython.Py_ssize_t) -> None:
        AeadOpener.__init__(self, aead, salt + bytes(EXPLICIT_NONCE), HEADER + EXPLICIT_NONCE, NUMBERED_LENGTH, tag_length)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def prepare(
        self,
        sequence: cython.ulonglong,
        record: cython.p_const_uchar,
        start: cython.Py_ssize_t,
        length: cython.Py_ssize_t,
        nonce: cython.p_uchar,
        additional: cython.p_uchar,
    ) -> cython.int:
        """The nonce is the salt and what the record holds."""
        index: cython.Py_ssize_t
        for index in range(EXPLICIT_NONCE):
            nonce[NONCE_LENGTH - EXPLICIT_NONCE + index] = record[start + HEADER + index]
        number(additional, sequence, record, start, length)
        return 0


@cython.cclass
class MaskedNonceOpener(AeadOpener):
    """ChaCha20-Poly1305 of TLS 1.2 and all of TLS 1.3: the nonce is the IV with the sequence number, nothing of it is in the record."""

    def __init__(self, aead: object, iv: bytes, kind: cython.int, tag_length: cython.Py_ssize_t) -> None:
        AeadOpener.__init__(self, aead, iv, HEADER, ADDITIONAL_LENGTHS[kind], tag_length)
        self.low = int.from_bytes(iv[4:12], "big")
        self.kind = kind

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def prepare(
        self,
        sequence: cython.ulonglong,
        record: cython.p_const_uchar,
        start: cython.Py_ssize_t,
        length: cython.Py_ssize_t,
        nonce: cython.p_uchar,
        additional: cython.p_uchar,
    ) -> cython.int:
        """The nonce is the IV with the sequence number in its last eight bytes."""
        index: cython.Py_ssize_t
        if self.kind == WITH_HEADER:
            for index in range(HEADER):
                additional[index] = record[start + index]
        elif self.kind == WITH_NUMBER:
            number(additional, sequence, record, start, length)
        big_endian(nonce, NONCE_LENGTH - EXPLICIT_NONCE, self.low ^ sequence)
        return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def big_endian(target: cython.p_uchar, at: cython.Py_ssize_t, value: cython.ulonglong) -> cython.int:
    """Write eight bytes."""
    index: cython.Py_ssize_t
    for index in range(8):
        target[at + index] = value >> (56 - 8 * index) & 0xFF
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def number(
    target: cython.p_uchar, sequence: cython.ulonglong, record: cython.p_const_uchar, start: cython.Py_ssize_t, length: cython.Py_ssize_t
) -> cython.int:
    """Write sequence number, content type, version and length of the content (RFC 5246 section 6.2.3.3)."""
    big_endian(target, 0, sequence)
    target[8] = record[start]
    target[9] = record[start + 1]
    target[10] = record[start + 2]
    target[11] = length >> 8 & 0xFF
    target[12] = length & 0xFF
    return 0
