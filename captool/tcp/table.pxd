from captool.capture.literals cimport BEYOND_IPV4, MASK32
from captool.capture.columns cimport ints, longs
from captool.capture.frames cimport Frames
from captool.packets.segments cimport Segments
from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define captool_fetch(place) __builtin_prefetch((place), 1)
    #else
    #define captool_fetch(place) ((void)(place))
    #endif
    """
    void fetch "captool_fetch"(long long *place)  # a line of the cache, to be written to


cdef class ConnectionTable:
    cdef long long[::1] entries
    cdef long long mask
    cdef long long used

    cdef int look_ahead(self, Rows rows, Frames frames, Segments segments, Py_ssize_t begin, Py_ssize_t end)
    cdef long long probable(self, long long hashed) noexcept
    cdef long long find(self, Rows rows, Segments segments, Py_ssize_t it)
    cdef bint same_ends(self, Rows rows, long long slot, Segments segments, Py_ssize_t it)
    cdef int insert(self, Rows rows, long long slot, Segments segments, Py_ssize_t it, bint from_client)
    cdef int remove(self, Rows rows, long long slot)
    cdef int grow(self)
