from captool.capture.literals cimport MASK31, MASK32, MASK33, SPREAD
cdef long long plain_mark(long long mark) noexcept
cdef long long place_of(long long mark, long long hops) noexcept


cdef class PlacedPackets:
    cdef long long[::1] packets
    cdef long long[::1] places

    cdef bint is_copy(self, long long sender, long long identity, long long where, long long ticks, long long within)
