"""AEAD ciphers of the system's OpenSSL, called without anything between (EVP_EncryptInit(3), AEAD interface).

cryptography makes a context for every record and looks at four Python buffers; for a short record that takes several times as long as
the decryption. Here a key has one context, and a record costs its nonce, its tag and its bytes. Only where captool is compiled, and
the system has a libcrypto (Python's own hashes nearly always use it): otherwise `cipher` gives None, and cryptography decrypts.
"""

# ruff: noqa: F821, PLR0911, PLR1714 - types of C and dlopen come from libcrypto.pxd

import cython

NAMES = (b"libcrypto.so.3", b"libcrypto.so.4", b"libcrypto.so.1.1")  # what is called here is the same in all of them
ALGORITHMS = {
    ("gcm", 16): b"EVP_aes_128_gcm",
    ("gcm", 32): b"EVP_aes_256_gcm",
    ("chacha20", 32): b"EVP_chacha20_poly1305",
}
NONCE_LENGTH = cython.declare(cython.Py_ssize_t, 12)  # what all of these have unless told otherwise
TAG_LENGTH = cython.declare(cython.Py_ssize_t, 16)
SET_TAG = cython.declare(cython.int, 0x11)  # EVP_CTRL_AEAD_SET_TAG
MOST_BYTES = cython.declare(cython.Py_ssize_t, 1 << 24)  # far more than a record: lengths are of type int


@cython.final
@cython.cclass
class Library:
    """The functions of libcrypto that decryption needs."""

    @cython.cfunc
    def load(self) -> cython.bint:
        """Whether there is a libcrypto that has all of them. It stays loaded."""
        for name in NAMES:
            self.handle = dlopen(PyBytes_AS_STRING(name), RTLD_NOW | RTLD_LOCAL)
            if self.handle != cython.NULL:
                break
        if self.handle == cython.NULL:
            return False
        self.context_new = cython.cast(ContextNew, dlsym(self.handle, b"EVP_CIPHER_CTX_new"))
        self.context_free = cython.cast(ContextFree, dlsym(self.handle, b"EVP_CIPHER_CTX_free"))
        self.decrypt_init = cython.cast(DecryptInit, dlsym(self.handle, b"EVP_DecryptInit_ex"))
        self.decrypt_update = cython.cast(DecryptUpdate, dlsym(self.handle, b"EVP_DecryptUpdate"))
        self.decrypt_final = cython.cast(DecryptFinal, dlsym(self.handle, b"EVP_DecryptFinal_ex"))
        self.control = cython.cast(ContextControl, dlsym(self.handle, b"EVP_CIPHER_CTX_ctrl"))
        self.context_copy = cython.cast(ContextCopy, dlsym(self.handle, b"EVP_CIPHER_CTX_copy"))
        return (
            self.context_new != cython.NULL
            and self.context_free != cython.NULL
            and self.decrypt_init != cython.NULL
            and self.decrypt_update != cython.NULL
            and self.decrypt_final != cython.NULL
            and self.control != cython.NULL
            and self.context_copy != cython.NULL
        )


@cython.final
@cython.cclass
class Cipher:
    """A key of an AEAD cipher whose nonce has 12 bytes and whose tag has 16."""

    if cython.compiled:

        def __dealloc__(self) -> None:
            """Free the context; libcrypto wipes the key in it. Other objects may be gone by now."""
            if self.context != cython.NULL:
                self.context_free(self.context)

    @cython.cfunc
    def begin(self, library: Library, algorithm: bytes, key: bytes) -> cython.bint:
        """Make the context for a key; whether that was possible."""
        find: Algorithm = cython.cast(Algorithm, dlsym(library.handle, PyBytes_AS_STRING(algorithm)))
        if find == cython.NULL:
            return False
        self.library = library
        self.context_free = library.context_free
        self.context = library.context_new()
        if self.context == cython.NULL:
            return False
        raw: cython.p_uchar = cython.cast(cython.p_uchar, PyBytes_AS_STRING(key))
        return library.decrypt_init(self.context, find(), cython.NULL, raw, cython.NULL) == 1

    @cython.cfunc
    def copy(self) -> object:
        """Another context for the same key, which another thread may use at the same time; None where that cannot be had."""
        other: Cipher = Cipher()
        other.library = self.library
        other.context_free = self.context_free
        other.context = self.library.context_new()
        if other.context == cython.NULL or self.library.context_copy(other.context, self.context) != 1:
            return None
        return other

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open(
        self,
        nonce: cython.p_const_uchar,
        additional: cython.p_const_uchar,
        additional_length: cython.Py_ssize_t,
        sealed: cython.p_const_uchar,
        length: cython.Py_ssize_t,
        out: cython.p_uchar,
        last: cython.p_uchar,
    ) -> cython.bint:
        """Decrypt `length` bytes of `sealed`, behind which the tag stands, to `out`; true where it verifies.

        Where `last` is given, the last byte goes there. What does not verify must not be used, and is to be wiped out of both.
        """
        written: cython.int = 0
        first: cython.Py_ssize_t = length - 1 if last != cython.NULL and length else length
        if self.context == cython.NULL or length > MOST_BYTES or additional_length > MOST_BYTES:
            return False
        if self.library.decrypt_init(self.context, cython.NULL, cython.NULL, cython.NULL, nonce) != 1:
            return False
        if (
            additional_length
            and self.library.decrypt_update(self.context, cython.NULL, cython.address(written), additional, additional_length) != 1
        ):
            return False
        if first and (
            self.library.decrypt_update(self.context, out, cython.address(written), sealed, first) != 1 or written != first
        ):
            return False
        if first < length and (
            self.library.decrypt_update(self.context, last, cython.address(written), sealed + first, 1) != 1 or written != 1
        ):
            return False
        if self.library.control(self.context, SET_TAG, TAG_LENGTH, cython.cast(cython.p_void, sealed + length)) != 1:
            return False
        return self.library.decrypt_final(self.context, out + first, cython.address(written)) == 1


LIBRARY = None


def cipher(mode: str, key: bytes) -> object:
    """The cipher of this mode and key (`Cipher`), None where it cannot be had here."""
    global LIBRARY  # noqa: PLW0603 - loaded once, with the first session that is decrypted
    algorithm = ALGORITHMS.get((mode, len(key)))
    if not cython.compiled or algorithm is None or LIBRARY is False:
        return None
    if LIBRARY is None:
        library: Library = Library()
        LIBRARY = library if library.load() else False
        if LIBRARY is False:
            return None
    made: Cipher = Cipher()
    return made if made.begin(LIBRARY, algorithm, key) else None
