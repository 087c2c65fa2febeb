"""A search's configuration: a TOML file of plain values, checked and turned into dataclasses; nothing in it is run."""

import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from ..architecture.cells import CellSpec
from ..architecture.plan import resolve
from ..architecture.spec import NetworkSpec
from ..architecture.zoo import find
from ..errors import InputError, SpecError, UnknownNameError
from ..training.recipe import Cosine, Recipe, ShiftAndFlip
from .predictors import NAMES as PREDICTORS
from .space import OPERATION_SETS, SearchSpace

CONFIGS = ("paper", "nasnet_operations", "two_cores", "minutes")
"""The configurations that come with the package; each is a file of `configs/`."""

ALGORITHMS = ("progressive", "random", "evolution")

_ENUMERABLE = 1_000_000
_ANY_CELL = CellSpec.of([("sep3", 0, "sep3", 1)])
_T = TypeVar("_T")


@dataclass(frozen=True)
class Proxy:
    """The network that a cell is tried in, and how it is trained. The defaults are the paper's, where it is known.

    Raises `InputError` for numbers that make no sense.
    """

    num_cells: int = 6
    """3 N, with N=2."""
    filters: int = 24
    """F."""
    image_size: int = 32
    """Pixels; the pictures are brought to it."""
    reductions: int = 2
    stem_multiplier: float = 3.0
    stem_stride: int = 1
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01
    """The highest; one cosine from there to 0."""
    warm_up: float = 0.0
    """Share of all steps in which the rate rises to it."""
    weight_decay: float = 5e-4
    drop_path_keep: float = 1.0
    label_smoothing: float = 0.0
    images: int | None = None
    """Pictures to train on, equally many of each class; None for all but those to validate with."""
    validation_images: int = 5000
    """Pictures that only measure, taken from the same data before those to train on."""
    validate_every: int = 1
    """After how many epochs each the curve has a point; the last one always has."""
    seed: int = 0
    """Decides which pictures are taken, the first weights, and the order of pictures."""

    def __post_init__(self) -> None:
        """Check what needs no data."""
        for name in ("epochs", "validation_images", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"[child] {name} must be at least 1, not {getattr(self, name)}")
        for name, low, high in (
            ("learning_rate", 0.0, math.inf), ("weight_decay", 0.0, math.inf), ("warm_up", 0.0, 1.0),
            ("label_smoothing", 0.0, 1.0),
        ):  # fmt: skip
            if not low <= getattr(self, name) < high:
                raise InputError(f"[child] {name} must be from {low:g} to below {high:g}, not {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"[child] seed must be 0 or more, not {self.seed}")
        if self.images is not None and self.images < self.batch_size:
            raise InputError(f"[child] {self.images} images do not fill a batch of {self.batch_size}")
        self.recipe(_ANY_CELL, 2)

    def recipe(self, cell: CellSpec, num_classes: int) -> Recipe:
        """Return the training room's recipe for a cell."""
        spec = NetworkSpec(
            cell, self.num_cells, self.filters, (self.image_size, self.image_size), num_classes,
            stem="cifar", stem_multiplier=self.stem_multiplier, stem_stride=self.stem_stride,
            reductions=self.reductions, weight_decay=self.weight_decay, drop_path_keep=self.drop_path_keep,
            epsilon=1e-5, aux_head=False,
        )  # fmt: skip
        return Recipe(
            spec,
            stages=((self.image_size, self.epochs),),
            batch_size=self.batch_size,
            schedule=Cosine(self.learning_rate, self.warm_up),
            augmentation=ShiftAndFlip(shift=self.image_size // 8),
            label_smoothing=self.label_smoothing,
            clip_norm=5.0,
            average_decay=0.0,  # the rate ends at 0, and of few steps an average would still remember the first weights
            batch_norm_momentum=0.9,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Strategy:
    """How cells are chosen. Raises `InputError` and `UnknownNameError`."""

    algorithms: tuple[str, ...] = ("progressive",)
    """One or several of progressive, random, evolution; each runs once with each seed."""
    seeds: tuple[int, ...] = (0,)
    beam: int = 256
    """K: how many cells of each number of blocks from 2 up progressive search trains."""
    predictor: str = "lstm-ensemble"
    models: int | None = None
    """Budget of each search: different cells; None takes what progressive search trains without one."""
    hours: float | None = None
    """Budget of each search: hours that its cells took to train, those in the journal counted too."""
    population: int = 100
    """Of evolution."""
    sample: int = 25
    """Of evolution: the best of so many, drawn from the population, is changed."""
    ahead: int = 8
    """How many cells random search and evolution choose before they know the first of them, and progressive search with
    a budget of hours. It decides what is found; more workers than this have nothing to do."""

    def __post_init__(self) -> None:
        """Check names and numbers."""
        for name in self.algorithms:
            if name not in ALGORITHMS:
                raise UnknownNameError.of("algorithm", name, ALGORITHMS)
        if self.predictor not in PREDICTORS:
            raise UnknownNameError.of("predictor", self.predictor, PREDICTORS)
        for name in ("algorithms", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"[search] {name} must be different, at least one")
        for name in ("models", "hours"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"[search] a budget of {value} {name} trains nothing: give more, or leave it out")
        if min(self.seeds) < 0:
            raise InputError(f"[search] seeds must be 0 or more, not {min(self.seeds)}")
        if self.beam < 1 or self.ahead < 1:
            raise InputError(f"[search] beam {self.beam} and ahead {self.ahead} must be at least 1")
        if not 1 <= self.sample <= self.population or self.ahead >= self.population:
            raise InputError(
                f"[search] sample {self.sample} must be from 1 to population {self.population}, ahead {self.ahead} less"
            )


@dataclass(frozen=True)
class Scale:
    """What the best cells are scaled up to in the files that are written. Raises `InputError`."""

    num_cells: int = 9
    filters: int = 48

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("num_cells", "filters"):
            if getattr(self, name) < 1:
                raise InputError(f"[network] {name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class SearchConfig:
    """A whole configuration: sections `[space]`, `[child]`, `[search]` and `[network]`.

    Raises `InputError` where the beam is larger than the space.
    """

    space: SearchSpace = field(default_factory=SearchSpace)
    child: Proxy = field(default_factory=Proxy)
    search: Strategy = field(default_factory=Strategy)
    network: Scale = field(default_factory=Scale)
    notes: str = ""
    """What a person should know; decides nothing."""

    def __post_init__(self) -> None:
        """Check what needs several sections."""
        if self.space.blocks > 1 and "progressive" in self.search.algorithms:
            count = count_distinct(self.space, 2) or self.space.unordered(2)
            if self.search.beam > count:
                raise InputError(
                    f"[search] beam {self.search.beam} is larger than the space, which has {count:,} cells of 2 blocks"
                )
        try:
            self.scaled_up(_ANY_CELL, 2)
        except SpecError as error:
            raise InputError(f"[network] {error}") from error

    @property
    def levels(self) -> list[int]:
        """How many cells of each number of blocks progressive search trains where no budget ends it."""
        return [len(self.space.one_block())] + [self.search.beam] * (self.space.blocks - 1)

    @property
    def models(self) -> int:
        """The budget of each search in models."""
        return self.search.models or sum(self.levels)

    def scaled_up(self, cell: CellSpec, classes: int) -> NetworkSpec:
        """Return the network of a cell: as `pnasnet_cifar`, with this depth and width. Raises `SpecError`."""
        usual, child = find("pnasnet_cifar").spec, self.child
        spec = NetworkSpec(
            cell, self.network.num_cells, self.network.filters, (child.image_size, child.image_size), classes or None,
            stem="cifar", stem_stride=child.stem_stride, stem_multiplier=child.stem_multiplier,
            reductions=child.reductions, epsilon=usual.epsilon, drop_path_keep=usual.drop_path_keep,
            weight_decay=usual.weight_decay,
        )  # fmt: skip
        resolve(spec)
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON and for comparing."""
        return {name: value for name, value in asdict(self).items() if name != "notes"}


def count_distinct(space: SearchSpace, blocks: int) -> int | None:
    """Return how many cells of so many blocks differ; None where they are too many to make them all."""
    if space.unordered(blocks) > _ENUMERABLE:
        return None
    rows = space.one_block()
    for _ in range(blocks - 1):
        rows = space.expand(rows)
    return len(np.unique(space.canonical(rows), axis=0))


# Reading.


def find_config(name: str) -> SearchConfig:
    """Return a configuration by its name or the path of a `.toml` file.

    Raises `UnknownNameError` where there is none of that name, `InputError` where the file is no configuration.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in CONFIGS:
            raise UnknownNameError.of("configuration", name, (*CONFIGS, "a .toml file"))
        return parse_config(files(__package__).joinpath("configs", f"{name}.toml").read_text("utf-8"), name)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8") from error
    return parse_config(text, str(path))


def parse_config(text: str, origin: str) -> SearchConfig:
    """Return the configuration that a TOML text holds. Raises `InputError` and `UnknownNameError`, with `origin`."""
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{origin} is not TOML: {error}") from error
    return config_from_dict(value, origin)


def config_from_dict(value: Mapping[str, Any], origin: str) -> SearchConfig:
    """Return the configuration of plain values, as `SearchConfig.to_dict` gives them. Raises as `parse_config`."""
    try:
        return _build(SearchConfig, _named_operations(value), "")
    except (InputError, UnknownNameError, SpecError) as error:
        raise type(error)(f"{origin}: {error}") from error


def _named_operations(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the same with the operations themselves in place of the name of a set."""
    space = value.get("space")
    if not isinstance(space, dict) or not isinstance(name := space.get("operations"), str):
        return value
    if name not in OPERATION_SETS:
        raise UnknownNameError.of("set of operations", name, list(OPERATION_SETS))
    return {**value, "space": {**space, "operations": list(OPERATION_SETS[name])}}


def _build(kind: type[_T], value: Any, where: str) -> _T:
    """Return a dataclass from a mapping: every name must be a field, every value of its type."""
    if not isinstance(value, Mapping):
        raise InputError(f"[{where}] must be a section")
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    given = {}
    for name, inner in value.items():
        if name not in known:
            raise UnknownNameError.of("setting" if where else "section", name, list(known))
        given[name] = _convert(hints[name], inner, f"[{where}] {name}" if where else name)
    return kind(**given)


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Return a value of TOML as one of `kind`: a number, a text, a list of these, or a section."""
    if isinstance(kind, type) and kind.__name__ in ("SearchSpace", "Proxy", "Strategy", "Scale"):
        return _build(kind, value, where)
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:  # TOML has no such value, but what `to_dict` returned has
            return None
        return _convert(next(each for each in get_args(kind) if each is not type(None)), value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} must be a list, not {value!r}")
        return tuple(_convert(get_args(kind)[0], each, where) for each in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where} must be {_CALLED[kind]}, not {value!r}")
    return value


_CALLED = {int: "a whole number", float: "a number", str: "a text"}
