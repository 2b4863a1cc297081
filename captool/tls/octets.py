"""Reading the presentation language of TLS (RFC 8446 section 3): numbers and length-prefixed vectors."""

from captool.errors import DecodeError


class Octets:
    """A cursor over bytes from the wire; every read that does not fit raises DecodeError."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._position

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        end = self._position + length
        if end > len(self._data):
            raise DecodeError(f"{length} bytes wanted, {self.left} left")
        start, self._position = self._position, end
        return self._data[start:end]

    def rest(self) -> bytes:
        """All bytes not read yet."""
        return self.take(self.left)

    def number(self, length: int) -> int:
        """The next `length` bytes as a big-endian number."""
        return int.from_bytes(self.take(length))

    def vector(self, length_bytes: int) -> bytes:
        """A vector with its length in front in `length_bytes` bytes."""
        return self.take(self.number(length_bytes))

    def numbers(self, length_bytes: int, size: int) -> tuple[int, ...]:
        """A vector of numbers of `size` bytes each, which must fill it exactly."""
        data = self.vector(length_bytes)
        if len(data) % size:
            raise DecodeError(f"a vector of {len(data)} bytes does not hold numbers of {size}")
        return tuple(int.from_bytes(data[at : at + size]) for at in range(0, len(data), size))
