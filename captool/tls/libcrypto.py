"""AEAD ciphers and RSA keys of the system's OpenSSL, called without anything between (EVP_EncryptInit(3), EVP_PKEY_decrypt(3)).

cryptography makes a context for every record and looks at four Python buffers; for a short record that takes several times as long as
the decryption. Here a key has one context, and a record costs its nonce, its tag and its bytes. And to import cryptography takes a tenth
of a short run, which one RSA key exchange is not worth. Only where captool is compiled, and the system has a libcrypto (Python's own hashes
nearly always use it): otherwise `cipher` and `private_key` give None, and cryptography decrypts.
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
LONGEST_PLAIN = cython.declare(cython.Py_ssize_t, 2048)  # that an RSA key gives, of OpenSSL's longest ones


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


@cython.final
@cython.cclass
class PrivateKey:
    """An RSA private key."""

    if cython.compiled:

        def __dealloc__(self) -> None:
            """Free key and context, which wipes what is secret of them. Other objects may be gone by now."""
            if self.context != cython.NULL:
                self.context_free(self.context)
            if self.key != cython.NULL:
                self.key_free(self.key)

    @cython.cfunc
    def begin(self, library: Library, der: bytes) -> cython.bint:
        """Read the key, an RSAPrivateKey (RFC 8017 appendix A.1.2); whether that was possible."""
        parse: KeyParse = cython.cast(KeyParse, dlsym(library.handle, b"d2i_AutoPrivateKey"))
        context_new: KeyContextNew = cython.cast(KeyContextNew, dlsym(library.handle, b"EVP_PKEY_CTX_new"))
        decrypt_init: KeyDecryptInit = cython.cast(KeyDecryptInit, dlsym(library.handle, b"EVP_PKEY_decrypt_init"))
        at: cython.p_const_uchar = cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(der))
        self.library = library
        self.key_free = cython.cast(KeyFree, dlsym(library.handle, b"EVP_PKEY_free"))
        self.context_free = cython.cast(KeyContextFree, dlsym(library.handle, b"EVP_PKEY_CTX_free"))
        self.key_decrypt = cython.cast(KeyDecrypt, dlsym(library.handle, b"EVP_PKEY_decrypt"))
        self.clear_errors = cython.cast(ClearErrors, dlsym(library.handle, b"ERR_clear_error"))
        if (
            parse == cython.NULL
            or context_new == cython.NULL
            or decrypt_init == cython.NULL
            or self.key_free == cython.NULL
            or self.context_free == cython.NULL
            or self.key_decrypt == cython.NULL
            or self.clear_errors == cython.NULL
        ):
            return False
        self.key = parse(cython.NULL, cython.address(at), len(der))
        if self.key == cython.NULL:
            self.clear_errors()
            return False
        self.context = context_new(self.key, cython.NULL)
        return self.context != cython.NULL and decrypt_init(self.context) == 1

    def decrypt(self, encrypted: bytes) -> bytes | None:
        """What was encrypted to the key (PKCS#1 v1.5, RFC 8017 section 7.2.2); where it was not, None, or of newer releases anything."""
        plain: bytes = PyBytes_FromStringAndSize(cython.NULL, LONGEST_PLAIN)
        size: cython.size_t = LONGEST_PLAIN
        target: cython.p_uchar = cython.cast(cython.p_uchar, PyBytes_AS_STRING(plain))
        source: cython.p_const_uchar = cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(encrypted))
        if self.context == cython.NULL or self.key_decrypt(self.context, target, cython.address(size), source, len(encrypted)) != 1:
            self.clear_errors()  # of this thread: Python's own modules look for theirs there
            return None
        return plain[:size]


LIBRARY = None


def loaded() -> object:
    """The library (`Library`), None where it cannot be had here."""
    global LIBRARY  # noqa: PLW0603 - loaded once, with the first session that is decrypted
    if LIBRARY is None and cython.compiled:
        library: Library = Library()
        LIBRARY = library if library.load() else False
    return LIBRARY or None


def cipher(mode: str, key: bytes) -> object:
    """The cipher of this mode and key (`Cipher`), None where it cannot be had here."""
    algorithm = ALGORITHMS.get((mode, len(key)))
    library = loaded() if algorithm is not None else None
    if library is None:
        return None
    made: Cipher = Cipher()
    return made if made.begin(library, algorithm, key) else None


def private_key(der: bytes) -> object:
    """The RSA key in an RSAPrivateKey (`PrivateKey`), None where it cannot be had here."""
    library = loaded()
    if library is None:
        return None
    made: PrivateKey = PrivateKey()
    return made if made.begin(library, der) else None
