from libc.string cimport memcpy

from captool.capture.frames cimport Frames

cdef class Source:
    cdef readonly Frames frames
    cdef public Py_ssize_t row
