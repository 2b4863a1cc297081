from captool.capture.literals cimport HALF32, MASK32, TWO32
from captool.capture.columns cimport ints, longs
from captool.capture.frames cimport Frames
from captool.packets.segments cimport Segments
from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows


cdef class ConnectionTable:
    cdef long long[::1] entries
    cdef long long mask
    cdef long long used
    cdef long long touched

    cdef int look_ahead(self, Rows rows, Frames frames, Segments segments, Py_ssize_t begin, Py_ssize_t end)
    cdef long long probable(self, long long hashed) noexcept
    cdef long long find(
        self, Rows rows, long long key, long long source_high, long long source_low, long long destination_high,
        long long destination_low, long long ports
    )
    cdef bint same_ends(
        self, Rows rows, long long slot, long long swapped, long long source_high, long long source_low, long long destination_high,
        long long destination_low
    )
    cdef int insert(
        self, Rows rows, long long slot, long long key, long long source_high, long long source_low, long long destination_high,
        long long destination_low, long long ports, bint from_client
    )
    cdef int remove(self, Rows rows, long long slot)
    cdef int grow(self)
