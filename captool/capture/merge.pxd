from libc.string cimport memcpy

from captool.capture.frames cimport Frames

cdef class Source:
    cdef public Frames frames
    cdef public Py_ssize_t row
