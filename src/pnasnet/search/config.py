"""The configuration of a search: everything but the images that decides its result."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..architecture.cells import CellSpec
from ..architecture.plan import resolve
from ..architecture.spec import NetworkSpec
from ..architecture.zoo import find
from ..errors import InputError, SpecError, UnknownNameError
from ..support.typed import convert_fields
from ..training.recipe import Cosine, Recipe, ShiftAndFlip
from .predictors import NAMES as PREDICTORS
from .space import SearchSpace

ALGORITHMS = ("progressive", "random", "evolution")
AUGMENTATIONS = ("shift", "crop-and-whiten")

_ENUMERABLE = 1_000_000
_MAX_EPOCHS = 100_000
_LARGEST_SEED = 2**53
_ANY_CELL = CellSpec.of([("sep3", 0, "sep3", 1)])


@dataclass(frozen=True)
class ChildSettings:
    """The small network in which each cell is trained, and how it is trained.

    The defaults are those of Liu et al., 2018, except for `augmentation`. Batch size, weight decay and clipping are
    this project's, because the paper does not give them. Raises `InputError` and `SpecError` for values of another type
    or out of range, and `UnknownNameError` for an unknown augmentation.
    """

    num_cells: int = 6
    """Number of cells: the paper's 3 N with N = 2."""
    filters: int = 24
    """Filters of the first cells: the paper's F."""
    image_size: int = 32
    """Height and width, in pixels, to which images are resized."""
    reductions: int = 2
    stem_multiplier: float = 3.0
    stem_stride: int = 1
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01
    """The highest learning rate. From it, half a cosine falls to 0."""
    warm_up: float = 0.0
    """Fraction of all steps in which the learning rate rises to the highest."""
    weight_decay: float = 5e-4
    drop_path_keep: float = 1.0
    label_smoothing: float = 0.0
    images: int | None = None
    """Images to train on, equally many of each class; None for all but the validation images."""
    validation_images: int = 5000
    """Images to measure accuracy on. They are set aside first, and never trained on."""
    validate_every: int = 1
    """Number of epochs from one measurement of accuracy to the next; the last epoch is always measured."""
    augmentation: str = "shift"
    """`shift`: images are shifted by up to an eighth of their size, and flipped. `crop-and-whiten`, as in the paper:
    images are enlarged by a quarter, cropped, flipped and whitened; validation images are whitened only."""
    seed: int = 0
    """Seed of the choice of images, of the first weights, and of the order of images."""

    def __post_init__(self) -> None:
        convert_fields(self)
        for name, least, most in (
            ("epochs", 1, _MAX_EPOCHS), ("validation_images", 1, math.inf), ("validate_every", 1, math.inf),
            ("seed", 0, _LARGEST_SEED),
        ):  # fmt: skip
            _check_range("child", name, getattr(self, name), least, most)
        for name, low, high in (
            ("learning_rate", 0.0, math.inf), ("weight_decay", 0.0, math.inf), ("warm_up", 0.0, 1.0),
            ("label_smoothing", 0.0, 1.0),
        ):  # fmt: skip
            if not low <= getattr(self, name) < high:
                raise InputError(f"[child] {name} must be from {low:g} to below {high:g}, not {getattr(self, name)}")
        if self.augmentation not in AUGMENTATIONS:
            raise UnknownNameError.of("augmentation", self.augmentation, AUGMENTATIONS)
        if self.images is not None and self.images < self.batch_size:
            raise InputError(f"[child] {self.images} images do not fill a batch of {self.batch_size}")
        try:
            self.recipe(_ANY_CELL, 2)
        except (InputError, SpecError) as error:
            raise type(error)(f"[child] {error}") from error

    def recipe(self, cell: CellSpec, num_classes: int) -> Recipe:
        """Return the recipe to train a cell. Raises `SpecError` if the network would be too small or too large."""
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
            average_decay=0.0,  # after so few steps, an average would still contain the first weights
            batch_norm_momentum=0.9,
            seed=self.seed,
        )


def _check_range(section: str, name: str, value: float, least: float, most: float) -> None:
    if not value >= least:
        raise InputError(f"[{section}] {name} must be at least {least:g}, not {value}")
    if value > most:
        raise InputError(f"[{section}] {name} must be at most {most:,}, not {value:,}")


@dataclass(frozen=True)
class Strategy:
    """How cells are chosen. Raises `InputError` for values out of range, and `UnknownNameError` for unknown names."""

    algorithms: tuple[str, ...] = ("progressive",)
    """One or several of progressive, random and evolution. Each runs once per seed."""
    seeds: tuple[int, ...] = (0,)
    beam: int = 256
    """Progressive search: cells to train of each number of blocks from 2 up; the paper's K."""
    predictor: str = "mlp-ensemble"
    models: int | None = None
    """Budget of each search, in distinct cells; None for as many as progressive search trains without a budget."""
    hours: float | None = None
    """Budget of each search, in hours of training, including that of children in the journal; None for no limit."""
    population: int = 100
    """Evolution: number of cells in the population."""
    sample: int = 25
    """Evolution: number of cells drawn from the population; the best of them is mutated."""
    ahead: int = 8
    """Limit of the cells that are chosen before the result of the first is known: in random search, in evolution, and
    in progressive search with a budget of hours. It affects the result; workers beyond this number stay idle."""

    def __post_init__(self) -> None:
        convert_fields(self)
        for name in self.algorithms:
            if name not in ALGORITHMS:
                raise UnknownNameError.of("algorithm", name, ALGORITHMS)
        if self.predictor not in PREDICTORS:
            raise UnknownNameError.of("predictor", self.predictor, PREDICTORS)
        for name in ("algorithms", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(
                    f"[search] {name} must be a list of different values: name at least one, and none twice"
                )
        for name in ("models", "hours"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"[search] a budget of {value} {name} trains nothing: use more, or omit it")
        for seed in self.seeds:
            _check_range("search", "seeds", seed, 0, _LARGEST_SEED)
        for name in ("beam", "ahead", "sample"):
            _check_range("search", name, getattr(self, name), 1, math.inf)
        _check_range("search", "sample", self.sample, 1, self.population)
        if self.ahead >= self.population:
            raise InputError(f"[search] ahead {self.ahead} must be less than population {self.population}")


@dataclass(frozen=True)
class Scale:
    """Depth and width of the networks that are written for the best cells. Raises `InputError` for numbers below 1."""

    num_cells: int = 9
    filters: int = 48

    def __post_init__(self) -> None:
        convert_fields(self)
        for name in ("num_cells", "filters"):
            _check_range("network", name, getattr(self, name), 1, math.inf)


@dataclass(frozen=True)
class SearchConfig:
    """A whole configuration, with the sections `[space]`, `[child]`, `[search]` and `[network]` of a file.

    Raises `InputError` if the sections contradict one another.
    """

    space: SearchSpace = field(default_factory=SearchSpace)
    child: ChildSettings = field(default_factory=ChildSettings)
    search: Strategy = field(default_factory=Strategy)
    network: Scale = field(default_factory=Scale)
    notes: str = ""
    """Command, hardware and result, for readers; without effect."""

    def __post_init__(self) -> None:
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
        """The number of cells of each number of blocks that progressive search trains without a budget."""
        return [len(self.space.one_block())] + [self.search.beam] * (self.space.blocks - 1)

    @property
    def models(self) -> int:
        """The budget of each search, in cells."""
        return self.search.models or sum(self.levels)

    def scaled_up(self, cell: CellSpec, classes: int) -> NetworkSpec:
        """Return a network like `pnasnet_cifar` with another cell, at this depth and width.

        Without classifier if `classes` is 0. Raises `SpecError` if the network cannot exist.
        """
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
        """Return the configuration without notes as plain values, for JSON and comparisons."""
        plain = asdict(self)
        del plain["notes"]
        if self.child.augmentation == "shift":  # journals from before this setting have none
            del plain["child"]["augmentation"]
        return plain


def count_distinct(space: SearchSpace, blocks: int) -> int | None:
    """Return the number of distinct cells with `blocks` blocks; None if there are too many to enumerate."""
    if space.unordered(blocks) > _ENUMERABLE:
        return None
    rows = space.one_block()
    for _ in range(blocks - 1):
        rows = space.expand(rows)
    return len(np.unique(space.canonical(rows), axis=0))
