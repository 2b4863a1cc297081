from captool.capture.columns cimport octets, u16, u32
from captool.capture.literals cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRAGMENT, HALF32, MAPPED_IPV4, MASK32, NO_TCP, TCP_SEGMENT, TWO32, UNDECODABLE
from captool.packets.extension_headers cimport after_extension_headers
from captool.packets.link cimport after_link_header
from captool.packets.tunnel cimport inside


cdef class Datagram:
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef long long fragment_header
    cdef long long source_high
    cdef long long source_low
    cdef long long destination_high
    cdef long long destination_low
    cdef long long identity
    cdef unsigned char hops

    cdef int find(self, unsigned char[::1] data, int link, Py_ssize_t at, Py_ssize_t end, long long wire_end) noexcept nogil
    cdef int read_ipv4(self, unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, long long on_wire, bint whole) noexcept nogil
    cdef int read_ipv6(self, unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, long long on_wire, bint whole) noexcept nogil
