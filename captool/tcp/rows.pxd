from captool.capture.columns cimport longs
from captool.capture.literals cimport HALF32, MASK32
from captool.tcp.copies cimport PlacedPackets
from captool.tcp.reassembly cimport Reassembly
from captool.tcp.layout cimport *

cdef long long max_of(long long one, long long other) noexcept


cdef class Rows:
    cdef long long[::1] state  # the full rows
    cdef long long[::1] hot
    cdef unsigned int[::1] halves  # of the hot rows
    cdef long long[::1] seen
    cdef long long origin  # of the first row: rows begin at cache lines
    cdef long long hot_origin
    cdef long long slots
    cdef list free
    cdef dict holes
    cdef dict gaps
    cdef dict probing
    cdef dict shut_windows
    cdef dict outages
    cdef dict repeats
    cdef dict syns
    cdef dict overtaken
    cdef dict resets
    cdef object linger
    cdef long long max_lingering
    cdef bint limited
    cdef Reassembly assembly
    cdef long long gap_ns
    cdef long long duplicate_packets
    cdef long long[::1] recent_packets
    cdef PlacedPackets placed_packets

    cdef long long take_slot(self)
    cdef int free_slot(self, long long slot)
    cdef int grow(self, long long slots)
    cdef int unpack(self, long long slot)
    cdef int pack(self, long long slot)
    cdef long long last_ns(self, long long conn)
    cdef int note_letters(self, long long conn, long long direction, long long letters)
