cimport cython


cdef inline long long* longs(long long[::1] column, Py_ssize_t begin=0) noexcept nogil:
    with cython.boundscheck(False):
        return &column[begin]


cdef inline int* ints(int[::1] column, Py_ssize_t begin=0) noexcept nogil:
    with cython.boundscheck(False):
        return &column[begin]


cdef inline unsigned int* words(unsigned int[::1] column, Py_ssize_t begin=0) noexcept nogil:
    with cython.boundscheck(False):
        return &column[begin]


cdef inline unsigned short* shorts(unsigned short[::1] column, Py_ssize_t begin=0) noexcept nogil:
    with cython.boundscheck(False):
        return &column[begin]


cdef inline unsigned char* octets(unsigned char[::1] column, Py_ssize_t begin=0) noexcept nogil:
    with cython.boundscheck(False):
        return &column[begin]


cdef inline long long u16(unsigned char *data, Py_ssize_t at=0) noexcept nogil:
    return <long long> data[at] << 8 | data[at + 1]


cdef inline long long u32(unsigned char *data, Py_ssize_t at=0) noexcept nogil:
    return <unsigned int> data[at] << 24 | <unsigned int> data[at + 1] << 16 | <unsigned int> data[at + 2] << 8 | <unsigned int> data[at + 3]
