from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlopen, dlsym

ctypedef const void *(*Algorithm)() noexcept nogil
ctypedef void *(*ContextNew)() noexcept nogil
ctypedef void (*ContextFree)(void *) noexcept nogil
ctypedef int (*ContextCopy)(void *, const void *) noexcept nogil
ctypedef int (*DecryptInit)(void *, const void *, void *, const unsigned char *, const unsigned char *) noexcept nogil
ctypedef int (*DecryptUpdate)(void *, unsigned char *, int *, const unsigned char *, int) noexcept nogil
ctypedef int (*DecryptFinal)(void *, unsigned char *, int *) noexcept nogil
ctypedef int (*ContextControl)(void *, int, int, void *) noexcept nogil
ctypedef void *(*KeyParse)(void **, const unsigned char **, long) noexcept nogil
ctypedef void (*KeyFree)(void *) noexcept nogil
ctypedef void *(*KeyContextNew)(void *, void *) noexcept nogil
ctypedef void (*KeyContextFree)(void *) noexcept nogil
ctypedef int (*KeyDecryptInit)(void *) noexcept nogil
ctypedef int (*KeyDecrypt)(void *, unsigned char *, size_t *, const unsigned char *, size_t) noexcept nogil
ctypedef void (*ClearErrors)() noexcept nogil

cdef class Library:
    cdef void *handle
    cdef ContextNew context_new
    cdef ContextFree context_free
    cdef DecryptInit decrypt_init
    cdef DecryptUpdate decrypt_update
    cdef DecryptFinal decrypt_final
    cdef ContextControl control
    cdef ContextCopy context_copy

    cdef bint load(self)

cdef class Cipher:
    cdef Library library
    cdef ContextFree context_free
    cdef void *context

    cdef bint begin(self, Library library, bytes algorithm, bytes key)
    cdef object copy(self)
    cdef bint open(
        self, const unsigned char *nonce, const unsigned char *additional, Py_ssize_t additional_length, const unsigned char *sealed,
        Py_ssize_t length, unsigned char *out, unsigned char *last
    ) noexcept nogil


cdef class PrivateKey:
    cdef Library library
    cdef KeyFree key_free
    cdef KeyContextFree context_free
    cdef KeyDecrypt key_decrypt
    cdef ClearErrors clear_errors
    cdef void *key
    cdef void *context

    cdef bint begin(self, Library library, bytes der)
