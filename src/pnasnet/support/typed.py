"""Checks and converts plain values (numbers, strings, lists): arguments, and fields of dataclasses."""

import math
import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import reduce
from operator import or_
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import InputError, UnknownNameError
from .text import shown

LARGEST = 2**53
"""Limit of numbers; larger integers overflow the libraries that they are passed to."""
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", dict: "a table"}


def typed(kind: type[Any], table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a table with the types of the fields of `kind`: lists as tuples, integers as floats.

    NumPy's numbers become Python's. `prefix` precedes the names in errors. Raises `UnknownNameError` for a name that is
    not a field, and `InputError` for a value of another type.
    """
    known = [field.name for field in fields(kind) if field.init]
    for name in table:
        if name not in known:
            raise UnknownNameError.of("setting", f"{prefix}{name}", [f"{prefix}{each}" for each in known])
    hints = get_type_hints(kind)
    return {name: _value(hints[name], value, f"{prefix}{name}") for name, value in table.items()}


def convert_fields(options: Any, **least: float) -> None:
    """Convert the fields of a frozen dataclass to their types, as `typed` does, in its `__post_init__`.

    `least` are the least values of some fields. Raises `InputError` for a value of another type, or a smaller one.
    """
    given = {field.name: getattr(options, field.name) for field in fields(options) if field.init}
    for name, value in typed(type(options), given).items():
        object.__setattr__(options, name, value)
        if name in least and value is not None:
            check_range(name, value, least[name])


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """Return an argument that must be a whole number from `least` up, NumPy's included. Raises `InputError`."""
    number: int = _value(int, value, name)
    check_range(name, number, least)
    return number


def number(name: str, value: Any) -> float:
    """Return an argument that must be a number, NumPy's included, as a float. Raises `InputError`."""
    converted: float = _value(float, value, name)
    return converted


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raise `InputError` for a number that is not in a range; NaN is in none."""
    if not least <= value <= most:
        limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise InputError(f"{name} must be {limits}, not {value}")


def _value(hint: Any, value: Any, name: str) -> Any:
    numpy = sys.modules.get("numpy")  # it is not imported for numbers that cannot be its own
    value = value.item() if numpy and isinstance(value, numpy.generic) else value
    inner = get_args(hint)
    if NoneType in inner:
        kinds = [each for each in inner if each is not NoneType]
        return None if value is None else _value(reduce(or_, kinds), value, name)  # JSON has null; TOML has not
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        if inner[-1] is Ellipsis:
            return tuple(_value(inner[0], each, name) for each in value)
        if len(value) == len(inner):
            return tuple(_value(each, item, name) for each, item in zip(inner, value, strict=True))
    elif get_origin(hint) is dict and isinstance(value, Mapping):
        return {str(key): _value(inner[1], each, f"{name}.{key}") for key, each in value.items()}
    elif _origin(hint) not in (*_WORDS, tuple):  # such as a path, which its own class checks
        return value
    elif type(value) is hint or (hint is float and type(value) is int):
        if type(value) is int and abs(value) > LARGEST:
            raise InputError(f"{name} is too large: use at most {LARGEST:,}")
        return hint(value)
    if get_origin(hint) is tuple:
        expected = "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)} values"
    else:
        expected = _WORDS[_origin(hint)]
    raise InputError(f"{name} must be {expected}, not {shown(value)}")


def _origin(hint: Any) -> Any:
    return get_origin(hint) or hint
