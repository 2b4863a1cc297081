from captool.packets.link cimport u32
from captool.tcp.sequence cimport seq_delta

cdef int has_above(unsigned char[::1] data, Py_ssize_t end, long long seq, long long ack)
