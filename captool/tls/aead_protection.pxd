from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy, memset

from captool.tls.libcrypto cimport Cipher

cdef class AeadOpener:
    cdef object decrypt
    cdef object decrypt_into
    cdef tuple faults
    cdef Cipher direct
    cdef Cipher beside
    cdef bytearray nonce
    cdef unsigned char nonce_bytes[12]
    cdef bytearray additional
    cdef Py_ssize_t additional_length
    cdef Py_ssize_t before
    cdef Py_ssize_t tag_length

    cdef int prepare(
        self, unsigned long long sequence, const unsigned char *record, Py_ssize_t start, Py_ssize_t length, unsigned char *nonce,
        unsigned char *additional
    ) noexcept nogil
    cdef int prepare_own(self, unsigned long long sequence, bytes record, Py_ssize_t start, Py_ssize_t length) except? -1
    cdef Py_ssize_t open_into(
        self, unsigned long long sequence, bytes record, Py_ssize_t start, Py_ssize_t end, object record_view, bytearray out, Py_ssize_t at,
        object out_view
    ) except? -2
    cdef Py_ssize_t open_direct(
        self, unsigned long long sequence, bytes record, Py_ssize_t start, Py_ssize_t length, bytearray out, Py_ssize_t at
    ) except? -2
    cdef bint has_another(self)
    cdef Py_ssize_t around(self, bint tls13)
    cdef bint open_run(
        self, Cipher cipher, unsigned long long sequence, const unsigned char *record, Py_ssize_t size, unsigned char *out, bint tls13
    ) noexcept nogil
    cdef bint open_one(
        self, Cipher cipher, unsigned long long sequence, const unsigned char *record, Py_ssize_t length, unsigned char *out,
        unsigned char *last
    ) noexcept nogil

cdef class ExplicitNonceOpener(AeadOpener):
    pass

cdef class MaskedNonceOpener(AeadOpener):
    cdef int kind
    cdef unsigned long long low
