from captool.packets.link cimport u16

cdef long long after_extension_headers(unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) noexcept nogil
