from captool.capture.frames cimport column
from captool.capture.literals cimport BEYOND_IPV4, MAPPED_IPV4, MASK32
from captool.packets.datagram cimport Datagram


cdef class Segments:
    cdef readonly Py_ssize_t rows
    cdef public Py_ssize_t count
    cdef public long long latest_ns
    cdef public Py_ssize_t row
    cdef public long long size
    cdef public long long snapped
    cdef public long long other
    cdef public long long undecodable
    cdef public long long elsewhere
    cdef public Py_ssize_t fragment_at
    cdef public Py_ssize_t fragment_end
    cdef public long long fragment_header
    cdef public long long whole_length
    cdef readonly int[::1] frame
    cdef readonly long long[::1] source_high
    cdef readonly long long[::1] source_low
    cdef readonly long long[::1] destination_high
    cdef readonly long long[::1] destination_low
    cdef readonly unsigned int[::1] ports
    cdef readonly unsigned int[::1] seq
    cdef readonly unsigned int[::1] ack
    cdef readonly unsigned short[::1] flags
    cdef readonly unsigned short[::1] window
    cdef readonly unsigned char[::1] hops
    cdef readonly long long[::1] mark
    cdef readonly int[::1] identity
    cdef readonly int[::1] payload_offset
    cdef readonly int[::1] payload_length
    cdef readonly int[::1] payload_captured
    cdef readonly long long[::1] key
    cdef readonly long long[::1] ends
    cdef readonly unsigned int[::1] end_ports
    cdef readonly unsigned char[::1] shape
    cdef readonly int[::1] slot
    cdef Datagram datagram

    cpdef object tell_ends(self, Py_ssize_t row)
    cdef int begin(self) noexcept nogil
