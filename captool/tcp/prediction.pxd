from captool.capture.literals cimport MASK32
from captool.capture.columns cimport ints, longs, octets, words
from captool.capture.frames cimport Frames
from captool.packets.segments cimport Segments
from captool.tcp.layout cimport *
from captool.tcp.rows cimport Rows
from captool.tcp.sequence cimport begin_from_newest
from captool.tcp.table cimport ConnectionTable

cdef Py_ssize_t predicted(
    Rows rows, ConnectionTable table, Frames frames, Segments segments, Py_ssize_t begin, Py_ssize_t end
) except? -1
