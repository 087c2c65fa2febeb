"""Checks of JSON values from clients: types, base64, and arrays of numbers."""

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
"""Maps web-safe base64 to standard base64, and drops the line breaks that some encoders insert."""


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
    """Return why a body is not JSON, without Python's wording."""
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
    """Return `value`. Raises `ServeError`, which names it `what`, unless it has the type `kind`, and fits 64 bits."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ServeError(f"{what} must be {_NAMES[kind]}")
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise ServeError(f"{what} is too large")
    return value


def from_base64(text: Any, what: str) -> bytes:
    """Decode base64, standard or web-safe, with or without padding and line breaks. Raises `ServeError`."""
    plain = typed(text, str, what).translate(_STANDARD).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ServeError(f"{what} is not base64") from error


def to_floats(value: Any, what: str) -> NDArray[np.float32]:
    """Return nested lists of numbers as a float32 array. Raises `ServeError`."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ServeError(f"{what} must be nested lists of equal lengths") from error
    if array.dtype.kind not in "fiu":
        raise ServeError(f"{what} must be nested lists of numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32)
