from cpython cimport array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from captool.capture.frames cimport column
from captool.tcp.named cimport new


cdef inline long long* numbers_in(array.array kept) noexcept:
    return kept.data.as_longlongs

cdef class Run:
    cdef long long direction
    cdef long long offset
    cdef long long missing
    cdef bint cut
    cdef bint from_start
    cdef long long size
    cdef Py_ssize_t count
    cdef Py_ssize_t room
    cdef array.array kept
    cdef long long* rows  # in `kept`
    cdef list waited

    cdef int make_room(self, Py_ssize_t room)
    cdef int add(self, long long begin, long long packet, long long ts_ns, long long place)
    cdef int clear(self)
    cdef long long end_of(self, Py_ssize_t at)
    cdef bint differs(self, unsigned char[::1] data, long long offset, long long captured, long long start)
    cdef object piece(self, long long connection, unsigned char[::1] data)
    cdef bytes gather(self, unsigned char[::1] chunk)
