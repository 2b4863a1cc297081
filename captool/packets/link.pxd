from captool.capture.literals cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, SNAP
cdef long long u16(unsigned char[::1] data, Py_ssize_t at) noexcept nogil
cdef long long u32(unsigned char[::1] data, Py_ssize_t at) noexcept nogil
cdef long long after_link_header(unsigned char[::1] data, int link, Py_ssize_t at, Py_ssize_t end) noexcept nogil
cdef long long after_ethertype(unsigned char[::1] data, long long kind, Py_ssize_t at, Py_ssize_t end) noexcept nogil
cdef long long capture_place(unsigned char[::1] data, int link, Py_ssize_t at) noexcept nogil
