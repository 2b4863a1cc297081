from captool.capture.literals cimport HALF32, MASK31, MASK32
from captool.tcp.idle cimport stir
from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows

cdef long long seq_delta(long long later, long long earlier) noexcept
cdef int synchronise(Rows rows, long long sender, long long seq)
cdef int note_syn(
    Rows rows, long long place, long long sender, long long receiver, long long seq, long long flags, long long ts, long long packet
)
cdef int note_answer(Rows rows, long long place, long long ts, long long packet)
cdef int acknowledge(Rows rows, long long place, long long sender, long long receiver, long long ack, long long flags, long long ts)
cdef long long irregular_data(
    Rows rows, long long place, long long sender, long long receiver, long long offset, long long length, long long ts,
    long long packet, long long mark
)
cdef bint came_late(
    Rows rows, long long place, long long sender, long long offset, long long end, long long mark, long long ts
)
cdef long long filled(Rows rows, long long place, long long sender, long long offset, long long end)
cdef int new_data(Rows rows, long long sender, long long receiver, long long offset, long long length, long long ts, long long packet)
cdef int note_outage(
    Rows rows, long long place, long long sender, long long receiver, long long offset, long long ts
)
cdef int note_stuck(Rows rows, long long side, long long length)
cdef int begin_from_newest(Rows rows, long long side)
cdef long long missing_before(Rows rows, long long place, long long offset)
