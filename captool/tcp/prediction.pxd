from captool.tcp.idle cimport idle_limit
from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows
from captool.tcp.segment cimport packet_identity
from captool.tcp.sequence cimport begin_from_newest

cdef bint predicted(
    Rows rows, long long place, long long ts, long long packet, long long seq, long long ack, long long flags, long long window,
    long long mark, long long length, long long captured
)
