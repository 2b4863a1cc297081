from cpython cimport array
from cpython.array cimport clone
from cpython.bytearray cimport PyByteArray_FromStringAndSize

cpdef array.array column(array.array like, Py_ssize_t rows)


cdef class Frames:
    cdef readonly object buffer
    cdef readonly unsigned char[::1] data
    cdef public Py_ssize_t spare
    cdef public Py_ssize_t count
    cdef public long long first_packet
    cdef public long long last_ts_ns
    cdef public Py_ssize_t fill
    cdef public Py_ssize_t reached
    cdef public long long needed
    cdef public object decoded
    cdef public bint staged
    cdef public bint ordered
    cdef readonly long long[::1] ts_ns
    cdef readonly int[::1] offset
    cdef readonly int[::1] captured
    cdef readonly unsigned int[::1] original
    cdef readonly int[::1] link_type

    cpdef object use(self, bytearray buffer)


cdef class Stage:
    cdef int work(self, Frames frames) noexcept nogil
