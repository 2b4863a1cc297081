from captool.capture.columns cimport octets
from captool.capture.frames cimport Frames

cdef class Walk:
    cdef int step(self, Frames frames) noexcept nogil
