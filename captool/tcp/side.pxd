from captool.tcp.layout cimport *
from captool.tcp.named cimport new
from captool.tcp.quiet cimport Probing

cdef class Side:
    cdef long long next
    cdef long long sequence
    cdef long long acked
    cdef long long last_ns
    cdef long long last_packet
    cdef long long packets
    cdef long long fin
    cdef long long first_ns
    cdef long long first_packet
    cdef long long newest_offset
    cdef long long resent_first
    cdef long long retransmissions
    cdef long long resent
    cdef long long resent_ns
    cdef long long resent_packet
    cdef long long stuck
    cdef long long newest_packet
    cdef long long newest_ns
    cdef long long probes
    cdef long long answered
    cdef long long longest_idle
    cdef long long forgotten
    cdef long long data_end
    cdef long long acknowledged
    cdef bint awaiting
    cdef bint reset
    cdef bint finished
    cdef bint synchronised
    cdef object holes
    cdef object probing

cdef Side side_of(long long[::1] state, long long conn, long long direction, object holes, object probing)
cdef object moment(long long packet, long long ts_ns)
cdef long long payload_bytes(Side side)
cdef long long stream_holes(Side side)
cdef long long unacknowledged_bytes(Side side, Side peer)
cdef object unanswered_data(Side side, Side peer, long long missing)
cdef object awaited_data(Side side)
cdef object repeated_data(Side side, object repeats)
cdef object syn_again(object syns)
cdef object keepalive(Side side, Side peer, long long window_ns)
