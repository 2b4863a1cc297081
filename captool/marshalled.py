"""Named tuples as plain data that `marshal` takes, and back, in a third of the time that pickle takes: for processes of one program.

What is neither a named tuple nor a plain value is pickled inside. Neither form is for data of strangers.

Compiled by Cython (pure-Python mode) and runs unchanged without it.
"""

import marshal
import pickle
from typing import Any

import cython

PLAIN = -1  # in the place of a class's number: a tuple that has no class of its own
PICKLED = -2
NEW = tuple.__new__


def dumps(value: object) -> bytes:
    """The value as bytes."""
    numbers: dict[type, int] = {}
    plain = flat(value, numbers)
    return marshal.dumps((pickle.dumps(list(numbers)), plain))


def loads(data: bytes) -> Any:  # noqa: ANN401 - whatever it was
    """The value that `dumps` made bytes of."""
    classes, plain = marshal.loads(data)  # noqa: S302 - from a process of our own
    return whole(plain, pickle.loads(classes))  # noqa: S301


@cython.cfunc
def flat(value: object, numbers: dict) -> object:
    """The value without named tuples: each is a tuple of its class's number and its fields."""
    kind: object = type(value)
    fields: tuple
    items: list
    at: cython.Py_ssize_t
    if value is None or kind is int or kind is str or kind is bool or kind is bytes or kind is float:
        return value
    if kind is list:
        return [flat(inner, numbers) for inner in value]
    if kind is tuple:
        items = [PLAIN]
    elif kind in numbers:
        items = [numbers[kind]]
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        items = [len(numbers)]
        numbers[kind] = items[0]
    else:
        return (PICKLED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    fields = cython.cast(tuple, value)
    for at in range(len(fields)):
        items.append(flat(fields[at], numbers))
    return tuple(items)


@cython.cfunc
def whole(value: object, classes: list) -> object:
    """The opposite of `flat`."""
    fields: tuple
    items: list
    number: cython.Py_ssize_t
    at: cython.Py_ssize_t
    if type(value) is list:
        return [whole(inner, classes) for inner in value]
    if type(value) is not tuple:
        return value
    fields = value
    number = fields[0]
    if number == PICKLED:
        return pickle.loads(fields[1])  # noqa: S301
    items = []
    for at in range(1, len(fields)):
        items.append(whole(fields[at], classes))
    return tuple(items) if number == PLAIN else NEW(classes[number], items)
