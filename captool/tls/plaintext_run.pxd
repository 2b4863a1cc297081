cdef class PlaintextRun:
    cdef readonly object direction
    cdef readonly bint after_loss
    cdef readonly Py_ssize_t count
    cdef readonly object data
    cdef long long[::1] rows
    cdef Py_ssize_t room
    cdef object marks
    cdef object packets
    cdef object times_ns

    cdef int add(self, long long stream_end, long long end)
