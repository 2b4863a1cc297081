"""Records under AEAD ciphers opened: nonce and additional data, made anew for every record. Compiled; runs uncompiled as well.

TLS 1.2: AES-GCM (RFC 5288 section 3), AES-CCM (RFC 6655 section 3), ChaCha20-Poly1305 (RFC 7905 section 2). TLS 1.3: RFC 8446 section 5.2.
"""

import cython
from cryptography.exceptions import InvalidTag

HEADER = 5
EXPLICIT_NONCE = 8
AEAD_FAULTS = (InvalidTag, ValueError)  # ValueError: shorter than a tag, or longer than CCM's nonce allows

# The additional data of a cipher whose nonce is masked: none, the record's header, or sequence number, header and length of content.
ADDITIONAL_NONE = 0
ADDITIONAL_HEADER = 1
ADDITIONAL_NUMBERED = 2


@cython.cclass
class ExplicitNonceOpener:
    """AES-GCM and AES-CCM of TLS 1.2: salt from the keys, the rest of the nonce in the record."""

    _decrypt = cython.declare(object)
    _salt = cython.declare(bytes)
    _additional = cython.declare(bytearray)
    _overhead = cython.declare(cython.Py_ssize_t)

    def __init__(self, decrypt: object, salt: bytes, tag_length: cython.Py_ssize_t) -> None:
        self._decrypt = decrypt
        self._salt = salt
        self._additional = bytearray(13)
        self._overhead = HEADER + EXPLICIT_NONCE + tag_length

    def __call__(self, sequence: cython.ulonglong, data: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        """The content of the record at `data[start:end]`, None where the tag does not verify."""
        record: bytes = data if isinstance(data, bytes) else bytes(data)
        length: cython.Py_ssize_t = end - start - self._overhead
        if length < 0:
            return None
        content: cython.Py_ssize_t = start + HEADER + EXPLICIT_NONCE
        number(self._additional, sequence, record, start, length)
        try:
            return self._decrypt(self._salt + record[start + HEADER : content], record[content:end], self._additional)
        except AEAD_FAULTS:
            return None


@cython.cclass
class MaskedNonceOpener:
    """ChaCha20-Poly1305 of TLS 1.2 and all of TLS 1.3: the nonce is the IV with the sequence number, nothing of it is in the record."""

    _decrypt = cython.declare(object)
    _nonce = cython.declare(bytearray)
    _additional = cython.declare(bytearray)
    _kind = cython.declare(cython.int)
    _tag_length = cython.declare(cython.Py_ssize_t)
    _low = cython.declare(cython.ulonglong)

    def __init__(self, decrypt: object, iv: bytes, kind: cython.int, tag_length: cython.Py_ssize_t) -> None:
        self._decrypt = decrypt
        self._nonce = bytearray(iv)
        self._additional = bytearray(13)
        self._low = int.from_bytes(iv[4:12], "big")
        self._kind = kind
        self._tag_length = tag_length

    def __call__(self, sequence: cython.ulonglong, data: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        """The content of the record at `data[start:end]`, None where the tag does not verify."""
        record: bytes = data if isinstance(data, bytes) else bytes(data)
        length: cython.Py_ssize_t = end - start - HEADER - self._tag_length
        if length < 0:
            return None
        content: cython.Py_ssize_t = start + HEADER
        additional: object = b""
        if self._kind == ADDITIONAL_HEADER:
            additional = record[start:content]
        elif self._kind == ADDITIONAL_NUMBERED:
            number(self._additional, sequence, record, start, length)
            additional = self._additional
        big_endian(self._nonce, 4, self._low ^ sequence)
        try:
            return self._decrypt(self._nonce, record[content:end], additional)
        except AEAD_FAULTS:
            return None


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
