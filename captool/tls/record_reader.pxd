from cpython.bytearray cimport PyByteArray_FromStringAndSize

from captool.tls.aead_protection cimport AeadOpener

cdef class PlaintextRun:
    cdef readonly object direction
    cdef readonly bint after_loss
    cdef readonly Py_ssize_t count
    cdef readonly object data
    cdef long long[::1] rows
    cdef Py_ssize_t room
    cdef object marks
    cdef object packets
    cdef object times_ns

    cdef int add(self, long long stream_end, long long end)

cdef class RecordReader:
    cdef public Py_ssize_t position
    cdef public long long sequence
    cdef public long long opened
    cdef readonly bytes data
    cdef readonly long long base
    cdef object direction
    cdef object marks
    cdef object packets
    cdef object times_ns
    cdef bytearray out
    cdef object out_view
    cdef object data_view
    cdef Py_ssize_t filled
    cdef Py_ssize_t room
    cdef PlaintextRun run
    cdef Py_ssize_t begin

    cdef PlaintextRun begin_run(self)
