cimport cython


@cython.boundscheck(False)
cdef inline long long* longs(long long[::1] column, Py_ssize_t begin=0) noexcept nogil:
    return &column[begin]


@cython.boundscheck(False)
cdef inline int* ints(int[::1] column, Py_ssize_t begin=0) noexcept nogil:
    return &column[begin]


@cython.boundscheck(False)
cdef inline unsigned int* words(unsigned int[::1] column, Py_ssize_t begin=0) noexcept nogil:
    return &column[begin]


@cython.boundscheck(False)
cdef inline unsigned short* shorts(unsigned short[::1] column, Py_ssize_t begin=0) noexcept nogil:
    return &column[begin]


@cython.boundscheck(False)
cdef inline unsigned char* octets(unsigned char[::1] column, Py_ssize_t begin=0) noexcept nogil:
    return &column[begin]
