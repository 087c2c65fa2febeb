"""Reads a search's configuration from TOML or JSON: plain values, checked and turned into dataclasses."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ..errors import InputError, SpecError, UnknownNameError
from ..support.files import reading
from .config import ChildSettings, Scale, SearchConfig, Strategy
from .space import OPERATION_SETS, SearchSpace

CONFIGS = ("paper", "nasnet_operations", "two_cores", "minutes")
"""The configurations that come with the package; each is a file in `configs/`."""

_LARGEST = 2**53
"""Of whole numbers; larger ones overflow what they are passed to."""
_T = TypeVar("_T")


def find_config(name: str) -> SearchConfig:
    """Return a configuration by its name, or by the path of a `.toml` file.

    Raises `UnknownNameError` for a name that is not in `CONFIGS`, `InputError` for a file that cannot be used.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in CONFIGS:
            raise UnknownNameError.of("configuration", name, (*CONFIGS, "a .toml file"))
        return parse_config(files(__package__).joinpath("configs", f"{name}.toml").read_text("utf-8"), name)
    try:
        with reading(path):
            text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8") from error
    return parse_config(text, str(path))


def config_summaries() -> Iterator[tuple[str, str]]:
    """Yield the name of each configuration in the package, and the first sentence of its notes."""
    for name in CONFIGS:
        paragraph = find_config(name).notes.partition("\n\n")[0]
        yield name, " ".join(paragraph.split()).partition(". ")[0].rstrip(".")


def parse_config(text: str, origin: str) -> SearchConfig:
    """Return the configuration in a TOML text.

    Raises `InputError` and `UnknownNameError`, with messages that begin with `origin`.
    """
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{origin} is not TOML: {error}") from error
    return config_from_dict(value, origin)


def config_from_dict(value: Mapping[str, Any], origin: str) -> SearchConfig:
    """Return the configuration made of plain values, as from `SearchConfig.to_dict`. Raises as `parse_config`."""
    try:
        sections = {name: _section(name, inner) for name, inner in value.items()}
        return SearchConfig(**sections)
    except (InputError, UnknownNameError, SpecError) as error:
        raise type(error)(f"{origin}: {error}") from error


def _section(name: str, value: Any) -> Any:
    if name == "notes":
        return _text(value, name)
    if name not in _SECTIONS:
        raise UnknownNameError.of("section", name, list(_SECTIONS))
    if not isinstance(value, Mapping):
        raise InputError(f"[{name}] must be a section")
    if name == "space" and isinstance(value.get("operations"), str):
        value = {**value, "operations": _operations(value["operations"])}
    kind = _SECTIONS[name]
    readers = {setting: _READERS[hint] for setting, hint in get_type_hints(kind).items()}
    for setting in value:
        if setting not in readers:
            raise UnknownNameError.of("setting", setting, list(readers))
    return kind(**{setting: readers[setting](inner, f"[{name}] {setting}") for setting, inner in value.items()})


_SECTIONS: dict[str, type[Any]] = {
    "space": SearchSpace,
    "child": ChildSettings,
    "search": Strategy,
    "network": Scale,
}


def _operations(name: str) -> tuple[str, ...]:
    """Return a set of operations by its name."""
    if name not in OPERATION_SETS:
        raise UnknownNameError.of("set of operations", name, list(OPERATION_SETS))
    return OPERATION_SETS[name]


# A reader for the type of each setting: returns the value, or raises InputError with the setting's name.


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where} must be a whole number, not {value!r}")
    if abs(value) > _LARGEST:
        raise InputError(f"{where} is too large: give at most {_LARGEST:,}")
    return value


def _number(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{where} must be a number, not {value!r}")
    return value if isinstance(value, float) else float(_whole(value, where))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} must be a text, not {value!r}")
    return value


def _optional(read: Callable[[Any, str], _T]) -> Callable[[Any, str], _T | None]:
    """Accept None, too: TOML has no such value, but the JSON of a journal has."""
    return lambda value, where: None if value is None else read(value, where)


def _list(read: Callable[[Any, str], _T]) -> Callable[[Any, str], tuple[_T, ...]]:
    def read_all(value: Any, where: str) -> tuple[_T, ...]:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} must be a list, not {value!r}")
        return tuple(read(each, where) for each in value)

    return read_all


_READERS: dict[Any, Callable[[Any, str], Any]] = {
    int: _whole,
    float: _number,
    str: _text,
    int | None: _optional(_whole),
    float | None: _optional(_number),
    tuple[int, ...]: _list(_whole),
    tuple[str, ...]: _list(_text),
}
