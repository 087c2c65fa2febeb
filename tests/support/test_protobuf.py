"""Protocol buffers written field by field, against this package's reader and onnx's library."""

import onnx
from hypothesis import given
from hypothesis import strategies as st

from pnasnet.support.protobuf import Message
from pnasnet.weights import wire


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=300), st.binary(max_size=300), st.integers(1, 2**29 - 1))
def test_what_is_written_is_read(number: int, text: str, data: bytes, field: int) -> None:
    inner = Message().number(field, number).fixed32(field + 1, number % 2**32)
    message = Message().text(1, text, "").data(2, memoryview(data), inner).entry(3, text, inner)
    encoded = bytes(message)
    assert len(encoded) == message.size
    read = wire.ParsedMessage(encoded, "")
    assert read.texts(1) == [text, ""]
    assert bytes(read.chunks(2)[0]) == data
    nested = wire.ParsedMessage(read.chunks(2)[1], "")
    assert nested.signed(field) == number
    assert nested.number(field + 1) == number % 2**32
    assert read.message(3).message(2).signed(field) == number


def test_a_library_reads_it() -> None:
    attribute = Message().text(1, "alpha").real(2, 0.5).packed(8, [1, -2, 300]).number(20, 7)
    parsed = onnx.AttributeProto.FromString(bytes(attribute))
    assert (parsed.name, parsed.f, list(parsed.ints), parsed.type) == ("alpha", 0.5, [1, -2, 300], 7)
