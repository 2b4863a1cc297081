from captool.tcp.layout cimport *
from captool.tcp.quiet cimport Probing, keep_distance
from captool.tcp.rows cimport Rows

cdef bint is_probe(Rows rows, long long sender, long long receiver, long long offset, long long length, long long flags)
cdef int probe(Rows rows, long long place, long long conn, long long sender, long long receiver, long long ts, long long previous, long long packet)
cdef int stir(Rows rows, long long conn, long long ts, long long previous)
cdef long long idle_by(Rows rows, long long conn)
cdef int stop_idling(
    Rows rows, long long conn, long long ts, long long previous, str ended_by, long long packet, long long missing
)
cdef bint is_late_probe(Rows rows, long long sender, long long receiver, long long offset, long long flags, long long ts)
