from captool.capture.literals cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, TRANSPARENT_ETHERNET
from captool.packets.link cimport after_ethertype, u16, u32

cdef long long inside(unsigned char[::1] data, long long kind, Py_ssize_t at, Py_ssize_t end) noexcept nogil
