"""Reads the configuration of a search from TOML or JSON."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import InputError, SpecError, UnknownNameError
from ..support.arguments import checked
from ..support.files import reading
from ..support.typed import typed
from .config import ChildSettings, Scale, SearchConfig, Strategy
from .space import OPERATION_SETS, SearchSpace

CONFIGS = ("paper", "nasnet_operations", "two_cores", "minutes")
"""The configurations in the package, files in `configs/`."""
_SECTIONS: dict[str, type[Any]] = {
    "space": SearchSpace,
    "child": ChildSettings,
    "search": Strategy,
    "network": Scale,
}


@checked
def find_config(name: str) -> SearchConfig:
    """Return a configuration by its name, or by the path of a `.toml` file.

    Raises `UnknownNameError` for a name that is not in `CONFIGS`, and `InputError` for an unusable file.
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
    """Return the configuration in TOML text. `origin`, its name or path, begins the messages of errors.

    Raises `InputError` and `SpecError`.
    """
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{origin} is not TOML: {error}") from error
    return config_from_dict(value, origin)


def config_from_dict(value: Mapping[str, Any], origin: str) -> SearchConfig:
    """Return the configuration made of plain values, as from `SearchConfig.to_dict`. Raises as `parse_config`."""
    try:
        notes = typed(SearchConfig, {"notes": value.get("notes", "")})
        sections = {name: _section(name, inner) for name, inner in value.items() if name != "notes"}
        return SearchConfig(**sections, **notes)
    except SpecError as error:
        raise SpecError(f"{origin}: {error}") from error
    except InputError as error:  # no UnknownNameError: that is for names on the command line
        raise InputError(f"{origin}: {error}") from error


def _section(name: str, value: Any) -> Any:
    if name not in _SECTIONS:
        raise UnknownNameError.of("section", name, list(_SECTIONS))
    if not isinstance(value, Mapping):
        raise InputError(f"[{name}] must be a section")
    if name == "space" and isinstance(value.get("operations"), str):
        if value["operations"] not in OPERATION_SETS:
            raise UnknownNameError.of("set of operations", value["operations"], list(OPERATION_SETS))
        value = {**value, "operations": OPERATION_SETS[value["operations"]]}
    kind = _SECTIONS[name]
    return kind(**typed(kind, value, f"[{name}] "))
