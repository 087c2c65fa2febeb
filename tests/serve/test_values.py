"""JSON from outside: what is refused, and in whose words."""

import base64
import json
from collections.abc import Callable

import pytest

from pnasnet.serve import Service
from pnasnet.serve.errors import ServeError
from pnasnet.serve.values import from_base64, parse_json, typed

from tests.helpers.serving import fake_models, live

HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f'{{"a": {HUGE}}}', "a number has too many digits"),
        (f'{{"a": -{HUGE}}}', "a number has too many digits"),
        ('{"a": NaN}', "NaN is not a number in JSON"),
        ('{"a": [-Infinity]}', "-Infinity is not a number in JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a": ' * 100_000, "it is nested too deeply"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "it is not UTF-8"),
        (r'{"a": "\ud800"}', "it has half of a surrogate pair"),
        (r'{"a\uDFFF": [1]}', "it has half of a surrogate pair"),
        ('{"a": 1', "Expecting ',' delimiter at line 1, column 8"),
        ("", "Expecting value at line 1, column 1"),
    ],
)
def test_what_is_not_json(body: str | bytes, reason: str) -> None:
    with pytest.raises(ServeError) as raised:
        parse_json(body.encode() if isinstance(body, str) else body)
    assert str(raised.value) == f"the body is not JSON: {reason}"


def test_what_is_json() -> None:
    for value in ({"a": 1e308, "b": [10**4000]}, {"\N{GRINNING FACE}": "\\ud83d"}, {}):
        assert parse_json(json.dumps(value).encode()) == value
        assert parse_json(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("value", ["1", 1.0, True, None, 1 << 63, -(10**4000)])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(ServeError, match=r"^the count (must be a whole number|is too large)$"):
        typed(value, int, "the count")


@pytest.mark.parametrize("encode", [base64.encodebytes, base64.urlsafe_b64encode, base64.b64encode])
@pytest.mark.parametrize("end", ["", "\r\n", "==", " \t"])
def test_base64_as_encoders_write_it(encode: Callable[[bytes], bytes], end: str) -> None:
    data = bytes(range(256)) * 2
    assert from_base64(encode(data).decode().rstrip("=") + end, "the data") == data


@pytest.mark.parametrize("text", ["a", "a===", "!abc", "ab=cd", "ab\x0bcd", "\u00e9abc"])
def test_what_is_not_base64(text: str) -> None:
    with pytest.raises(ServeError, match="the data is not base64"):
        from_base64(text, "the data")


@pytest.mark.parametrize("shape", [[10**4000, 1, 1, 3], [2**62] * 9, [1] * 100_000])
def test_the_shape_of_a_tensor_costs_no_arithmetic(shape: list[int]) -> None:
    tensor = {"name": "images", "datatype": "FP32", "shape": shape, "data": [0.5]}
    with live(Service(fake_models())) as server:
        answer = server.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400
    assert "shape" in answer.json()["error"]
