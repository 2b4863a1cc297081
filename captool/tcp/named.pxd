from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        object (*tp_alloc)(PyTypeObject *, Py_ssize_t)


cdef inline object new(object kind, tuple fields):
    """As `tuple.__new__`, without a call of Python's."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(fields)
    cdef Py_ssize_t at
    cdef object field
    cdef object made = (<PyTypeObject *> kind).tp_alloc(<PyTypeObject *> kind, size)
    for at in range(size):
        field = <object> PyTuple_GET_ITEM(fields, at)
        Py_INCREF(field)
        PyTuple_SET_ITEM(made, at, field)
    return made
