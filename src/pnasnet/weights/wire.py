"""Reads the wire format of protocol buffers, as far as TensorFlow's files use it; no byte is trusted.

Source: "Encoding", protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import cast

from ..errors import CorruptWeightsError

MAX_FIELDS = 100_000
"""Maximum number of fields in a message; bounds the memory that two bytes of a hostile file can use."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


def read_varint(data: memoryview, position: int, origin: str) -> tuple[int, int]:
    """Return the unsigned 64-bit varint at `position` of `data`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise CorruptWeightsError(f"{origin} is damaged: it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise CorruptWeightsError(f"{origin} is damaged: it holds a number of more than 64 bits")


class ParsedMessage:
    """The fields of one message. Absent fields have protobuf's defaults; the last of several scalars counts.

    Raises `CorruptWeightsError`, which names `origin`, for bytes that are not a message.
    """

    def __init__(self, data: bytes | memoryview, origin: str) -> None:
        self.origin = origin
        self._fields: dict[int, list[int | memoryview]] = {}
        view, position, count = memoryview(data), 0, 0
        while position < len(view):
            tag, position = read_varint(view, position, origin)
            value, position = self._read_value(view, position, tag & 7)
            self._fields.setdefault(tag >> 3, []).append(value)
            count += 1
            if count > MAX_FIELDS:
                raise self._damaged(f"a message has more than {MAX_FIELDS} fields")

    def _read_value(self, view: memoryview, position: int, wire_type: int) -> tuple[int | memoryview, int]:
        if wire_type == _VARINT:
            return read_varint(view, position, self.origin)
        if wire_type == _BYTES:
            size, position = read_varint(view, position, self.origin)
        elif wire_type in _WIDTHS:
            size = _WIDTHS[wire_type]
        else:
            raise self._damaged(f"wire type {wire_type} is not used by TensorFlow")
        end = position + size
        if end > len(view):
            raise self._damaged(f"a field of {size} bytes goes beyond its end")
        value = view[position:end]
        return (value if wire_type == _BYTES else int.from_bytes(value, "little")), end

    def _damaged(self, why: str) -> CorruptWeightsError:
        return CorruptWeightsError(f"{self.origin} is damaged: {why}")

    def number(self, field: int) -> int:
        """Return an unsigned integer (also a fixed32), 0 by default."""
        values = self._fields.get(field, [0])
        if not all(isinstance(value, int) for value in values):
            raise self._damaged(f"field {field} should be a number")
        return cast("int", values[-1])

    def signed(self, field: int) -> int:
        """Return an int64, 0 by default."""
        value = self.number(field)
        return value - 2**64 if value >= 2**63 else value

    def chunks(self, field: int) -> list[memoryview]:
        """Return the values of a repeated field of bytes."""
        values = self._fields.get(field, [])
        chunks = [value for value in values if isinstance(value, memoryview)]
        if len(chunks) != len(values):
            raise self._damaged(f"field {field} should be bytes")
        return chunks

    def texts(self, field: int) -> list[str]:
        """Return the values of a repeated string field."""
        try:
            return [str(chunk, "utf-8") for chunk in self.chunks(field)]
        except UnicodeDecodeError:
            raise self._damaged(f"field {field} should be text") from None

    def text(self, field: int) -> str:
        """Return a string, empty by default."""
        return (self.texts(field) or [""])[-1]

    def messages(self, field: int) -> Iterator["ParsedMessage"]:
        """Yield the values of a repeated field of messages; each is parsed when it is used, to save memory."""
        return (ParsedMessage(chunk, self.origin) for chunk in self.chunks(field))

    def message(self, field: int) -> "ParsedMessage":
        """Return a nested message, an empty one by default."""
        return ParsedMessage((self.chunks(field) or [memoryview(b"")])[-1], self.origin)
