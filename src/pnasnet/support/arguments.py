"""Checks the arguments of public functions against their annotations, and refuses wrong ones in one line.

    @checked
    def open_features(path: str | Path, column: str | None = None) -> Features: ...

    open_features(3)    # InputError: path must be a string or a path, not 3

Numbers also have ranges, which the functions check themselves (`typed`). An object of any class is accepted in place
of another class, because it may have the same methods; a plain value is not.

Why not beartype: 0.23 accepts a string as `Sequence[str]`, checks one random element of a list (it found one wrong name
of 100 in 1 of 200 calls), rejects text for `Path` and NumPy's bools, and raises an error for names imported only for
types, of which this package has many. Its import needs 80 ms or more for 397 modules; `import pnasnet`
needs 26 to 38 ms for 61.
"""

import collections.abc
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from ..errors import InputError
from .text import shown

F = TypeVar("F", bound=Callable[..., Any])

_PLAIN = (
    *(NoneType, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset),
    Path,
)
"""Types whose values are never accepted in place of an object of another class."""
_UNCHECKED = (Any, int, float, object, tuple, Callable)
_PATHS = (Path, os.PathLike)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def checked(function: F) -> F:
    """Return the function with a check of its arguments, which raises `InputError`. Text for a `Path` becomes one.

    `Any`, numbers, tuples and protocols are not checked. For a class that is imported only for types, every object but
    a plain value passes. Elements are checked in lists and tuples alone, because other iterables can be read only once.
    """
    names = [name for name, each in inspect.signature(function).parameters.items() if each.kind in _BY_POSITION]
    hints = {name: hint for name, hint in inspect.get_annotations(function).items() if _is_checked(hint)}
    paths = {name for name, hint in hints.items() if hint is Path or hint == Path | None}

    def accepted(name: str, value: Any) -> Any:
        if name not in hints:
            return value
        if not fits(hints[name], value):
            raise InputError(f"{name} must be {described(hints[name])}, not {shown(value)}")
        return Path(value) if name in paths and value is not None else value

    @wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        if len(args) > len(names):
            return function(*args, **kwargs)  # Python's own error
        given = [accepted(name, value) for name, value in zip(names, args, strict=False)]
        return function(*given, **{name: accepted(name, value) for name, value in kwargs.items()})

    return cast(F, checking)


def fits(hint: Any, value: Any) -> bool:
    """Return whether a value can be what an annotation asks for, as far as `checked` looks."""
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return any(fits(each, value) for each in get_args(hint))
    if kind in (None, NoneType):
        return value is None
    if kind in (str, Literal):
        return isinstance(value, str)
    if kind in _PATHS:
        return isinstance(value, str | os.PathLike) and not isinstance(os.fspath(value), bytes)
    if kind is bool:
        return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if kind is bytes:
        return isinstance(value, bytes | bytearray | memoryview)
    if _is_array(kind):
        return hasattr(value, "__array__")
    if not _is_checked(hint):
        return True
    if isinstance(kind, str):
        return not _is_plain(value)
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if _is_list(kind):
        if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
            return False
        if isinstance(value, Mapping):
            return kind in (collections.abc.Iterable, collections.abc.Collection)
        inner = _element(hint)
        return inner is None or not isinstance(value, list | tuple) or all(fits(inner, each) for each in value)
    return isinstance(value, kind) or not _is_plain(value)


def _is_checked(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return all(_is_checked(each) for each in get_args(hint))
    if kind in (None, Literal) or isinstance(kind, str):
        return kind in (None, Literal) or kind.isidentifier()
    return isinstance(kind, type) and kind not in _UNCHECKED and not getattr(kind, "_is_protocol", False)


def described(hint: Any) -> str:
    """Return what an annotation asks for: `a string or a path`, `a list of strings`, `true or false`."""
    kinds = get_args(hint) if (get_origin(hint) or hint) in (Union, UnionType) else (hint,)
    words = list(dict.fromkeys(_described(each) for each in kinds if each not in (None, NoneType)))
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _described(hint: Any) -> str:
    kind = get_origin(hint) or hint
    if kind in (str, Literal):
        return "a string"
    if kind in _PATHS:
        return "a path"
    if kind is bytes:
        return "bytes"
    if kind is bool:
        return "true or false"
    if _is_array(kind):
        return "an array"
    if not isinstance(kind, str) and issubclass(kind, Mapping):
        return "a mapping"
    if not isinstance(kind, str) and _is_list(kind):
        words = described(_element(hint)).split(" or ") if _element(hint) else []
        plural = " or ".join(f"{word.partition(' ')[2]}s" for word in words)
        return f"a list of {plural}" if words else "a list"
    name = kind if isinstance(kind, str) else kind.__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _element(hint: Any) -> Any:
    """Return the annotation of a list's elements if they are checked: names, paths, objects."""
    inner = [each for each in get_args(hint) if each is not Ellipsis]
    of_lists = len(inner) != 1 or get_origin(inner[0]) not in (None, Union, UnionType, os.PathLike)
    return None if of_lists or not _is_checked(inner[0]) else inner[0]


def _is_plain(value: Any) -> bool:
    return isinstance(value, (*_PLAIN, type)) or type(value).__module__ == "numpy"


def _is_array(kind: Any) -> bool:
    """Return whether a class is NumPy's array, without importing NumPy."""
    return getattr(kind, "__module__", "") == "numpy" and kind.__name__ == "ndarray"


def _is_list(kind: type[Any]) -> bool:
    return kind in (list, tuple, set, frozenset) or (
        kind.__module__ == "collections.abc" and issubclass(kind, Iterable)
    )
