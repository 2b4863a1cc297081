from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, PyThread_type_lock, WAIT_LOCK,
)
from libc.errno cimport EINTR, errno
from libc.string cimport memcpy
from posix.unistd cimport read

from captool.capture.frames cimport Frames, Stage
from captool.capture.walk cimport Walk

cdef class ReadAhead

cdef extern from "pythread.h" nogil:
    enum:
        PY_LOCK_ACQUIRED
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int intr_flag)

cdef class Aside:
    cdef ReadAhead reader

    cdef bint work(self, bint by_thread) noexcept nogil

cdef class ReadAhead:
    cdef Stage stage
    cdef Aside aside
    cdef Aside nothing
    cdef Walk walk
    cdef list chunks
    cdef Frames first
    cdef object thread
    cdef int descriptor
    cdef Py_ssize_t spare
    cdef long long number
    cdef long long returned
    cdef long long made
    cdef long long last
    cdef bint listening
    cdef bint stopping
    cdef bint over
    cdef bint asleep
    cdef bint wanted
    cdef void *ring[6]
    cdef PyThread_type_lock ready[6]
    cdef PyThread_type_lock door
    cdef PyThread_type_lock bell

    cdef int end(self)
    cdef int ring_the_bell(self) noexcept nogil
    cdef int sleep(self) noexcept nogil
    cdef bint has_place(self) noexcept nogil
    cdef int run(self) noexcept nogil
    cdef int go_over(self, long long number, Frames frames) noexcept nogil
    cdef bint fill(self, long long number, Frames before, Frames frames) noexcept nogil
