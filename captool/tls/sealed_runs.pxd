from cpython.bytearray cimport PyByteArray_FromStringAndSize
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, PyThread_type_lock, WAIT_LOCK,
)

from captool.capture.read_ahead cimport Aside
from captool.tls.aead_protection cimport AeadOpener

cdef extern from "Python.h":
    ctypedef struct PyByteArrayObject:
        Py_ssize_t ob_exports  # views of it that there are

cdef struct Portion:
    void *opener
    unsigned long long sequence
    const unsigned char *records
    Py_ssize_t size
    unsigned char *out
    bint tls13
    bint *failed

cdef class SealedRuns(Aside):
    cdef readonly Py_ssize_t enough
    cdef readonly Py_ssize_t portion
    cdef readonly list waiting
    cdef list owners
    cdef list buffers
    cdef Portion portions[256]
    cdef int added
    cdef int taken
    cdef bint working
    cdef bint awaited
    cdef PyThread_type_lock counters
    cdef PyThread_type_lock rest

    cdef bytearray lend(self, Py_ssize_t size)
    cdef bint takes(self, Py_ssize_t portions, object owner) except? -1
    cdef int add(self, Portion portion) except? -1
    cdef int begin(self)
