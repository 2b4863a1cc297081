from captool.capture.literals cimport HALF32, MASK32, TWO32
from captool.packets.link cimport u32

cdef bint arrived_above(unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, long long ack) noexcept nogil
cdef long long timestamp_mark(unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) noexcept nogil
