"""Columns of numbers from a place on, for loops that go over many of them, and numbers in network byte order.

Compiled, they are pointers and come from columns.pxd: an access to a typed memoryview looks up each time where its data begins, and a
field of several bytes is read byte by byte. Whoever takes one checks the bounds.
"""


def _from(column: memoryview, begin: int = 0) -> memoryview:
    """The part of the column that begins there."""
    return memoryview(column)[begin:]


longs = ints = words = shorts = octets = _from  # of 64, 32, 32, 16, 8 bits; the last three without a sign


def u16(data: memoryview, at: int = 0) -> int:
    """Two bytes from there, most significant first."""
    return data[at] << 8 | data[at + 1]


def u32(data: memoryview, at: int = 0) -> int:
    """Four bytes."""
    return u16(data, at) << 16 | u16(data, at + 2)
