import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnasnet.errors import CorruptWeightsError
from pnasnet.weights.wire import MAX_FIELDS, ParsedMessage, read_varint

from tests.helpers.weights_files import chunk, fixed32, number, varint


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_returned_with_the_position_after_it(value: int) -> None:
    data = varint(value)
    assert read_varint(memoryview(b"x" + data + b"y"), 1, "file") == (value, 1 + len(data))


def test_fields_are_read_by_number_and_kind() -> None:
    data = number(1, 7) + number(1, 8) + number(2, -3) + chunk(3, "ä".encode()) + fixed32(4, 2**31)
    data += chunk(5, number(1, 9)) + chunk(5, b"") + varint(6 << 3 | 1) + bytes(8)
    message = ParsedMessage(data, "file")
    assert message.number(1) == 8
    assert message.signed(2) == -3
    assert message.text(3) == "ä"
    assert message.number(4) == 2**31
    assert [inner.number(1) for inner in message.messages(5)] == [9, 0]
    assert (message.number(9), message.text(9), message.message(9).number(1)) == (0, "", 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a number that is missing
        b"\x08" + b"\xff" * 10,  # a number without end
        b"\x0a\x05abc",  # bytes beyond the end
        b"\x0a" + varint(2**63) + b"abc",
        b"\x0d\x01",  # half a fixed32
        b"\x0b",  # a group, which TensorFlow does not use
        bytes([8, 1]) * (MAX_FIELDS + 1),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptWeightsError, match="saved_model"):
        ParsedMessage(data, "saved_model.pb")


def test_a_field_of_another_kind_is_refused() -> None:
    message = ParsedMessage(number(1, 5) + chunk(2, b"\xff"), "file")
    for read in (lambda: message.text(1), lambda: message.number(2), lambda: message.text(2)):
        with pytest.raises(CorruptWeightsError):
            read()


def test_messages_are_parsed_when_they_are_asked_for() -> None:
    """Each uses memory; nothing after a damaged one is parsed; of several values of a single field the last counts."""
    message = ParsedMessage(chunk(1, number(1, 5)) + chunk(1, b"\xff") + chunk(1, number(1, 7)), "file")
    messages = message.messages(1)
    assert next(messages).number(1) == 5
    with pytest.raises(CorruptWeightsError):
        next(messages)
    assert message.message(1).number(1) == 7


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error_of_ours(data: bytes) -> None:
    try:
        message = ParsedMessage(data, "file")
        message.message(1).texts(1)
        message.number(2)
    except CorruptWeightsError:
        pass
