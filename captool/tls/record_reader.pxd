from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memset

from captool.tls.aead_protection cimport AeadOpener
from captool.tls.plaintext_run cimport PlaintextRun
from captool.tls.sealed_runs cimport SealedRuns, Portion

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
    cdef SealedRuns sealed
    cdef AeadOpener opener
    cdef PlaintextRun run_beside
    cdef Py_ssize_t count_before
    cdef Py_ssize_t records_beside
    cdef Py_ssize_t position_beside
    cdef Py_ssize_t filled_beside
    cdef bint failed

    cdef PlaintextRun begin_run(self)
    cdef int hand_over(self, bint tls13) except? -1
