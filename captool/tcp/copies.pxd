cdef class PlacedPackets:
    cdef long long[::1] packets
    cdef long long[::1] places

    cdef bint is_copy(self, long long sender, long long identity, long long where, long long ticks)
