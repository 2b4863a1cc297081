cdef class Probing:
    cdef list firsts
    cdef list intervals
    cdef list retries
    cdef long long run
    cdef long long first_packet
    cdef long long first_ns
    cdef long long before_packet
    cdef long long before_ns
    cdef long long last_packet
    cdef long long last_ns
    cdef long long heard_packet
    cdef object lapse

    cdef int probe(self, long long packet, long long ts, long long heard_packet, bint answered)
    cdef object lapsed(self, bint answered)

cdef int keep_distance(list distances, long long distance_ns, long long number)
