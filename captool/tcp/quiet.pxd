cdef class Probing:
    cdef list firsts
    cdef list intervals
    cdef long long run
    cdef long long first_packet
    cdef long long first_ns
    cdef long long last_packet
    cdef long long last_ns
    cdef long long heard_packet

    cdef int probe(self, long long packet, long long ts, long long heard_packet)

cdef int keep_distance(list distances, long long distance_ns, long long number)
