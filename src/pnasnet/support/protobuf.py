"""Writes protocol buffers field by field; TensorFlow's files need no more.

Source: "Encoding", protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Self

Buffer = bytes | memoryview

_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def varint(value: int) -> bytes:
    """Return an integer as a varint; a negative one as 64-bit two's complement."""
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class Message:
    """A message being written. Nested messages and large values are not copied."""

    def __init__(self) -> None:
        self._parts: list[Buffer | Message] = []
        self.size = 0
        """Length of the encoded message in bytes."""

    def number(self, field: int, value: int) -> Self:
        """Add an integer, a bool or a value of an enumeration."""
        return self._add(varint(field << 3 | _VARINT) + varint(value))

    def fixed32(self, field: int, value: int) -> Self:
        """Add an unsigned 32-bit integer of fixed length."""
        return self._add(varint(field << 3 | _FIXED32) + value.to_bytes(4, "little"))

    def real(self, field: int, value: float) -> Self:
        """Add a float32."""
        return self._add(varint(field << 3 | _FIXED32) + struct.pack("<f", value))

    def packed(self, field: int, values: Iterable[int]) -> Self:
        """Add a packed list of integers."""
        return self.data(field, b"".join(map(varint, values)))

    def text(self, field: int, *values: str) -> Self:
        """Add one string or several."""
        for value in values:
            self.data(field, value.encode())
        return self

    def data(self, field: int, *values: "Buffer | Message") -> Self:
        """Add bytes or nested messages. A message must not change after it is added."""
        for value in values:
            size = value.size if isinstance(value, Message) else len(value)
            self._add(varint(field << 3 | _BYTES) + varint(size))._add(value)
        return self

    def entry(self, field: int, key: str, value: "Message") -> Self:
        """Add an entry of a map from strings to messages."""
        return self.data(field, Message().text(1, key).data(2, value))

    def _add(self, part: "Buffer | Message") -> Self:
        self._parts.append(part)
        self.size += part.size if isinstance(part, Message) else len(part)
        return self

    def parts(self) -> Iterator[Buffer]:
        """Yield the encoded message in pieces."""
        for part in self._parts:
            if isinstance(part, Message):
                yield from part.parts()
            else:
                yield part

    def __bytes__(self) -> bytes:
        return b"".join(self.parts())
