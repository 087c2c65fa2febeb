"""JSON values from outside: their types, base64, and arrays of numbers."""

import base64
import binascii
import json
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import ServeError

T = TypeVar("T")

_NAMES = {dict: "an object", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}
_TOO_LARGE = 1 << 63
_STANDARD = str.maketrans("-_", "+/", " \t\r\n\f")
"""From web-safe base64 to the standard's, without the line breaks that encoders put in."""


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the object of a JSON body. Raises `ServeError`."""
    try:
        content = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse)
        if b"\\ud" in body.lower():
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ServeError(f"the body is not JSON: {_reason(error)}") from error
    return typed(content, dict, "the body")


def _refuse(constant: str) -> None:
    raise ServeError(f"the body is not JSON: {constant} is not a number in JSON")


def _reason(error: ValueError | RecursionError) -> str:
    """Return why a text is not JSON, in our words."""
    match error:
        case RecursionError():
            return "it is nested too deeply"
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case UnicodeEncodeError():
            return "it has half of a surrogate pair"
        case json.JSONDecodeError():
            return f"{error.msg} at line {error.lineno}, column {error.colno}"
        case _:
            return "a number has too many digits"


def typed(value: Any, kind: type[T], what: str) -> T:
    """Return `value`, which must be of a JSON type, an integer of at most 64 bits. Raises `ServeError`."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ServeError(f"{what} must be {_NAMES[kind]}")
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise ServeError(f"{what} is too large")
    return value


def from_base64(text: Any, what: str) -> bytes:
    """Return the bytes of base64, standard or web-safe, on one line or several. Raises `ServeError`."""
    plain = typed(text, str, what).translate(_STANDARD).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ServeError(f"{what} is not base64") from error


def to_floats(value: Any, what: str) -> NDArray[np.float32]:
    """Return nested lists of numbers as float32. Raises `ServeError`."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ServeError(f"{what} must be nested lists of equal lengths") from error
    if array.dtype.kind not in "fiu":
        raise ServeError(f"{what} must be nested lists of numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32)
