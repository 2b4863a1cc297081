from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy, memset

from captool.tls.libcrypto cimport Cipher

cdef class AeadOpener:
    cdef object decrypt
    cdef object decrypt_into
    cdef tuple faults
    cdef Cipher direct
    cdef bytearray nonce
    cdef bytearray additional
    cdef Py_ssize_t before
    cdef Py_ssize_t tag_length

    cdef int prepare(self, unsigned long long sequence, bytes record, Py_ssize_t start, Py_ssize_t length) except? -1
    cdef Py_ssize_t open_into(
        self, unsigned long long sequence, bytes record, Py_ssize_t start, Py_ssize_t end, object record_view, bytearray out, Py_ssize_t at,
        object out_view
    ) except? -2
    cdef Py_ssize_t open_direct(self, bytes record, Py_ssize_t content, Py_ssize_t length, bytearray out, Py_ssize_t at) except? -2

cdef class ExplicitNonceOpener(AeadOpener):
    pass

cdef class MaskedNonceOpener(AeadOpener):
    cdef int kind
    cdef unsigned long long low
