"""Recipes as files: TOML, or Python that defines RECIPE.

    base = "cifar10_short"                 # optional: a recipe that comes with the package
    stages = [[24, 10], [32, 10]]          # image size, epochs
    batch_size = 64

    [spec]
    num_classes = 3

    [schedule]
    kind = "Cosine"
    peak = 0.1

The fields are those of `Recipe` and `NetworkSpec`. Omitted ones have the values of the base, or their defaults.
"""

import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..architecture.spec import NetworkSpec
from ..errors import InputError, PnasnetError, UnknownNameError
from ..support.arguments import checked
from ..support.files import reading
from ..support.text import clean, shown
from ..support.typed import typed
from ..training.recipe import Cosine, CropAndFlip, Muon, Recipe, RmsProp, Sgd, ShiftAndFlip, Staircase
from .recipes import NAMES, find_recipe

_KINDS: dict[str, tuple[type[Any], ...]] = {
    "schedule": (Cosine, Staircase),
    "optimizer": (Sgd, RmsProp, Muon),
    "augmentation": (ShiftAndFlip, CropAndFlip),
}
"""The tables with a `kind`, and the classes that it may name."""


@checked
def open_recipe(name: str) -> Recipe:
    """Return a recipe by its name, or from a `.toml` or `.py` file. A Python file is executed.

    Raises `UnknownNameError` for an unknown name, and `InputError` if a file cannot be read or is not a recipe.

    Example:
        >>> from pnasnet.train.recipe_file import open_recipe
        >>> open_recipe("cifar10_short").changed(epochs=6).stages  # (size of the images, epochs)
        ((16, 4), (24, 2))
    """
    path = Path(name)
    if path.suffix not in (".toml", ".py"):
        return find_recipe(name)
    with reading(path):
        text = path.read_bytes()
    return from_toml(text, str(path)) if path.suffix == ".toml" else _run(path)


def from_toml(content: bytes, name: str) -> Recipe:
    """Return the recipe in the content of a TOML file. Raises `InputError`, which begins with `name`."""
    try:
        return _recipe(tomllib.loads(content.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not a TOML file: {clean(str(error))}") from error
    except PnasnetError as error:
        raise InputError(f"{name}: {clean(str(error))}") from error


def _run(path: Path) -> Recipe:
    try:
        found = runpy.run_path(str(path)).get("RECIPE")
    except (Exception, SystemExit) as error:
        raise InputError(f"{path} fails: {type(error).__name__}: {clean(str(error))}") from error
    if not isinstance(found, Recipe):
        raise InputError(f"{path} does not define RECIPE: set it to a pnasnet.training.recipe.Recipe")
    return found


def _recipe(table: Mapping[str, Any]) -> Recipe:
    values = dict(table)
    base: dict[str, Any] = {}
    if "base" in values:
        name = values.pop("base")
        if name not in NAMES:
            raise UnknownNameError.of("base", str(name), list(NAMES))
        base = _plain(find_recipe(name))
    tables = {name: values.pop(name) for name in ("spec", *_KINDS) if name in values}
    base |= typed(Recipe, values)
    for name, own in tables.items():
        if not isinstance(own, Mapping):
            raise InputError(f"{name} must be a table: write its fields below [{name}]")
        inherited = base.get(name, {})
        same = "kind" not in own or own["kind"] == inherited.get("kind")
        base[name] = {**inherited, **own} if same else own
    if missing := [name for name in ("spec", "stages", "batch_size", "schedule") if name not in base]:
        raise InputError(f"the recipe lacks {', '.join(missing)}: add what is missing, or inherit it with base = NAME")
    parts = {name: _part(name, base.pop(name)) for name in _KINDS if name in base}
    return Recipe(spec=NetworkSpec.from_dict(base.pop("spec")), **parts, **base)


def _part(name: str, table: Mapping[str, Any]) -> Any:
    values = dict(table)
    wanted = values.pop("kind", None)
    kind = next((each for each in _KINDS[name] if each.__name__ == wanted), None)
    if kind is None:
        known = ", ".join(each.__name__ for each in _KINDS[name])
        raise InputError(f"{name}.kind must be one of {known}, not {shown(wanted)}")
    given = typed(kind, values, f"{name}.")
    for field in fields(kind):
        if field.default is field.default_factory is MISSING and field.name not in given:
            raise InputError(f"{name} lacks {field.name}, which {wanted} needs")
    return kind(**given)


# Writing.


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as the content of a TOML file; `from_toml` returns an equal recipe. Raises `InputError`."""
    plain = _plain(recipe)
    lines = [f"{name} = {_toml(value)}" for name, value in plain.items() if not isinstance(value, dict)]
    for name, table in plain.items():
        if isinstance(table, dict) and table:
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _plain(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as TOML's values and tables. TOML has no null, so fields that are None are omitted."""
    plain: dict[str, Any] = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if isinstance(value, NetworkSpec):
            value = value.to_dict()
        elif is_dataclass(value) and not isinstance(value, type):
            kind = type(value)
            if kind not in _KINDS[field.name]:
                raise InputError(
                    f"a recipe file cannot hold the {field.name} {kind.__name__}: keep the recipe in Python"
                )
            value = {"kind": kind.__name__, **asdict(value)}
        if isinstance(value, dict):
            value = {key: each for key, each in value.items() if each is not None}
        if value is not None:
            plain[field.name] = value
    return plain


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _quoted(value)
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _quoted(name)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
