from captool.capture.literals cimport TWO32
from captool.packets.link cimport u32

cdef long long timestamp_mark(unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) noexcept nogil
