"""Fuzzed bytes taken apart: small numbers first, then the bytes that a stranger would have sent."""


class Script:
    """Reads from the front; an end that comes too early reads as zeros, so that every input means something."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        return self.number(1)

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length).ljust(length, b"\0"))

    def take(self, length: int) -> bytes:
        taken = self.data[self.at : self.at + length]
        self.at += length
        return taken

    def vector(self, length_bytes: int) -> bytes:
        """Bytes after their length."""
        return self.take(self.number(length_bytes))

    def rest(self) -> bytes:
        return self.take(len(self.data))


def steps(*said: tuple[int, bytes]) -> bytes:
    """The script of (which, bytes) pairs, as targets that hear a dialogue read it."""
    return b"".join(bytes([which]) + len(data).to_bytes(2) + data for which, data in said)


def dialogue(script: Script) -> list[tuple[int, bytes]]:
    said = []
    while script:
        which = script.byte()
        said.append((which, script.vector(2)))
    return said
