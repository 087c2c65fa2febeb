"""Recipes as values: everything that decides the outcome of a training, but for the data and the machine."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from ..architecture.cells import CellSpec
from ..architecture.spec import NetworkSpec
from ..errors import InputError


@dataclass(frozen=True)
class Progress:
    """How far a training is, counted in optimizer steps."""

    step: int
    steps_per_epoch: int
    total_steps: int

    @property
    def share(self) -> float:
        """What is done of the whole training, from 0 to 1."""
        return self.step / self.total_steps


class Schedule(Protocol):
    """A learning rate over a training."""

    def __call__(self, progress: Progress) -> float:
        """Return the learning rate of the step to come."""
        ...


@dataclass(frozen=True)
class Cosine:
    """A rise from 0 to `peak` in the first `warm_up` (a share of all steps), then half a cosine down to 0."""

    peak: float
    warm_up: float = 0.0

    def __call__(self, progress: Progress) -> float:
        """Return the learning rate."""
        if progress.share < self.warm_up:
            return self.peak * progress.share / self.warm_up
        return self.peak * (1 + math.cos(math.pi * (progress.share - self.warm_up) / (1 - self.warm_up))) / 2


@dataclass(frozen=True)
class Staircase:
    """Falls by `factor` once in every `epochs` epochs, as TF-Slim's `exponential_decay(..., staircase=True)`."""

    initial: float
    factor: float = 0.97
    epochs: float = 2.4

    def __call__(self, progress: Progress) -> float:
        """Return the learning rate."""
        return float(self.initial * self.factor ** (progress.step // self.steps(progress)))

    def steps(self, progress: Progress) -> int:
        """Return the steps between two falls."""
        return max(int(self.epochs * progress.steps_per_epoch), 1)


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    nesterov: bool = True


@dataclass(frozen=True)
class RmsProp:
    """RMSProp as TensorFlow 1 has it: epsilon inside the root, the mean square begins at 1."""

    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1.0


@dataclass(frozen=True)
class Muon:
    """Orthogonalized momentum for the kernels that mix channels, `Sgd` with Nesterov momentum for everything else.

    Of a network like these it needs far fewer epochs than SGD. The learning rate is that of the orthogonalized steps.
    """

    momentum: float = 0.9
    decay: float = 0.02
    """What the orthogonalized kernels shrink by in each step, times the learning rate; they have no L2 term."""
    others: float = 4.0
    """What the learning rate is multiplied by for everything else."""


@dataclass(frozen=True)
class ShiftAndFlip:
    """For small pictures: mirrored at random, shifted by up to `shift` pixels, a square of `cutout` pixels greyed out.

    All pictures are decoded once and kept in memory, at the recipe's image size. Source of cutout: DeVries and Taylor,
    2017; nothing is greyed out where it is 0.
    """

    shift: int = 4
    cutout: int = 0


@dataclass(frozen=True)
class CropAndFlip:
    """For photos: a random crop resized to the image size, mirrored at random, colours distorted.

    As TF-Slim's `inception_preprocessing.preprocess_for_train`: the crop has `area` of the picture and a ratio of width
    to height within `ratio`; brightness moves by up to 32/255, saturation and contrast are scaled by 0.5 to 1.5, hue
    turns by up to 0.2 of a circle. Pictures are decoded as they are needed.
    """

    area: tuple[float, float] = (0.05, 1.0)
    ratio: tuple[float, float] = (0.75, 1.33)
    colours: bool = True


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training, but for the data and the machine.

    Raises `InputError` where the values contradict each other.
    """

    spec: NetworkSpec
    stages: tuple[tuple[int, int], ...]
    """(image size, epochs) one after the other; small images first train at a fraction of the cost."""
    batch_size: int
    """Images in an optimizer step, over all devices."""
    schedule: Schedule
    optimizer: Sgd | RmsProp | Muon = Sgd()
    augmentation: ShiftAndFlip | CropAndFlip = ShiftAndFlip()
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    """What a picture of each class counts for in the losses; None for all alike."""
    aux_weight: float = 0.4
    """Weight of the auxiliary classifier's loss, where the network has that head."""
    clip_norm: float | None = None
    """Largest norm of all gradients together, those of the L2 terms included where the loss has these: not by Muon."""
    average_decay: float = 0.9999
    """Decay of the exponential moving average of the weights, which is what is kept; in the first steps it is less."""
    batch_norm_momentum: float = 0.99
    """Share of the old value in each update of a moving average of batch normalization, as in TensorFlow."""
    layer_decay: float = 1.0
    """What the learning rate of a cell is multiplied by, against that of the cell after it."""
    drop_path_rises: bool = True
    """Whether path dropout rises with step / total steps (from scratch), or has its final rate throughout."""
    freeze_batch_norm: bool = False
    """Whether batch normalization keeps the moving averages that it came with."""
    seed: int = 0
    first_weights: str | None = None
    """SHA-256 of the weights that it begins from, as `Model.checksum` gives it; None for random ones."""
    notes: dict[str, str] = field(default_factory=dict)
    """What else a person should know; decides nothing."""

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        if not self.stages or any(size < 1 or epochs < 1 for size, epochs in self.stages):
            raise InputError(f"stages must be pairs of image size and epochs, at least 1 each, not {self.stages}")
        if self.batch_size < 2:
            raise InputError(f"batch_size={self.batch_size}: batch normalization needs at least 2 images")
        if self.spec.num_classes is None:
            raise InputError("the network has no classifier to train; give its description num_classes")
        height, width = self.spec.image_size
        if height != width:
            raise InputError(f"images are square in training; the network's are {height}x{width}: give it another size")
        if isinstance(self.augmentation, ShiftAndFlip) and not 0 <= self.augmentation.shift < height:
            raise InputError(f"a shift of {self.augmentation.shift} pixels is not within images of {height}")
        if isinstance(self.schedule, Cosine) and not 0 <= self.schedule.warm_up < 1:
            raise InputError(f"warm_up is a share of all steps, in [0, 1), not {self.schedule.warm_up}")
        if self.class_weights is not None and len(self.class_weights) != self.spec.num_classes:
            raise InputError(f"{len(self.class_weights)} class_weights do not fit {self.spec.num_classes} classes")
        if not 0 <= self.average_decay < 1:
            raise InputError(f"average_decay must be in [0, 1), not {self.average_decay}")
        if len({size for size, _ in self.stages}) > 1 and self.spec.aux_head:
            raise InputError("an auxiliary head has one size of map; train with one image size, or aux_head=False")

    def with_cell(self, cell: CellSpec, num_cells: int | None = None, filters: int | None = None) -> "Recipe":
        """Return the recipe for a network of another cell, and, where they are given, of other depth and width.

        A reduction cell makes way: the one cell then reduces, too. Raises `SpecError`.
        """
        spec = replace(
            self.spec,
            cell=cell,
            reduction_cell=None,
            skip_reduction_input=True,
            num_cells=num_cells or self.spec.num_cells,
            filters=filters or self.spec.filters,
        )
        return replace(self, spec=spec)

    @property
    def sizes(self) -> list[int]:
        """The image size of each epoch."""
        return [size for size, count in self.stages for _ in range(count)]

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, fit for JSON and for comparing; notes decide nothing and are left out."""
        parts = {name: type(getattr(self, name)).__name__ for name in ("schedule", "optimizer", "augmentation")}
        plain = {**asdict(self), "spec": self.spec.to_dict(), "kinds": parts}
        del plain["notes"]
        for later in ("class_weights", "first_weights"):
            if plain[later] is None:  # so that trainings which began before there were any can go on
                del plain[later]
        return plain
