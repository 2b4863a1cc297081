from captool.tcp.idle cimport stop_idling
from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows, max_of
from captool.tcp.sequence cimport missing_before, seq_delta

cdef bint starts_anew(Rows rows, long long place, long long seq, long long flags)
cdef int finish_side(
    Rows rows, long long place, long long offset, long long ts, long long previous, long long packet, long long mark
)
cdef int note_closing(Rows rows, long long place, long long ts, long long packet)
cdef int start_linger(Rows rows, long long place, long long ts)
cdef long long ended_lingering(Rows rows, long long now)
cdef int note_reset(
    Rows rows, long long place, long long ts, long long packet, long long seq, long long ack, long long flags, long long window,
    long long mark, long long hops
)
cdef bint speaks_for_its_side(Rows rows, long long sender, long long offset, long long mark, long long hops) noexcept
cdef int outlive(Rows rows, long long place)
