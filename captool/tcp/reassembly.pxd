from captool.tcp.run cimport Run

cdef class Stream:
    cdef bint from_start
    cdef bint cut
    cdef long long delivered
    cdef long long missing
    cdef long long waiting_bytes
    cdef long long hole_acked_ns
    cdef list waiting

cdef class Talk:
    cdef long long number
    cdef Stream to_server
    cdef Stream to_client
    cdef Run run

    cdef Stream stream(self, long long direction)

cdef class Reassembly:
    cdef readonly long long max_buffer
    cdef readonly long long max_buffer_in_all
    cdef readonly long long waiting_in_all
    cdef readonly long long given_up
    cdef readonly dict differing
    cdef dict talks
    cdef dict running
    cdef Talk latest
    cdef list pieces
    cdef list unused
    cdef unsigned char[::1] data

    cdef Talk find(self, long long connection)
    cdef int segment(
        self, long long connection, long long direction, long long offset, long long length, long long captured, long long start,
        long long packet, long long ts_ns, bint from_start, long long acked
    )
    cdef int acknowledged(self, long long connection, long long direction, long long acked, long long ts_ns)
    cdef int judge_hole(self, Talk talk, long long direction, Stream stream, long long acked, long long ts_ns)
    cdef int give_up(self, Talk talk, long long direction, Stream stream)
    cdef int deliver_waiting(self, Talk talk, long long direction, Stream stream)
    cdef int deliver(
        self, Talk talk, long long direction, Stream stream, long long offset, long long length, long long captured, long long start,
        bytes waited, long long packet, long long ts_ns
    )
    cdef int compare(self, Talk talk, long long direction, long long offset, long long captured, long long start)
    cdef int emit(self, Talk talk)
