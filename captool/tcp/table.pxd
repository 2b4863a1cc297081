from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows, pair


cdef class ConnectionTable:
    cdef long long[::1] entries
    cdef long long mask
    cdef long long used
    cdef long long touched
    cdef unsigned long long seed

    cdef int look_ahead(
        self, Rows rows, long long[::1] key, long long[::1] source_high, long long[::1] source_low, long long[::1] destination_high,
        long long[::1] destination_low, unsigned int[::1] ports, Py_ssize_t begin, Py_ssize_t end
    )
    cdef long long hash_ends(
        self, long long source_high, long long source_low, long long destination_high, long long destination_low, long long ports
    ) noexcept
    cdef long long find(
        self, Rows rows, long long key, long long source_high, long long source_low, long long destination_high,
        long long destination_low, long long ports
    )
    cdef int insert(
        self, Rows rows, long long slot, long long key, long long source_high, long long source_low, long long destination_high,
        long long destination_low, long long ports, bint from_client
    )
    cdef int remove(self, Rows rows, long long slot)
    cdef int grow(self)
