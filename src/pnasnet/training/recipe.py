"""Recipes as values: everything that decides the outcome of a training, except the data and the machine."""

import math
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any, Protocol

from ..architecture.cells import CellSpec
from ..architecture.spec import NetworkSpec
from ..errors import InputError
from ..support.text import shown
from ..support.typed import check_range, convert_fields, number, whole_number


class Schedule(Protocol):
    """A learning rate over a training."""

    def __call__(self, share: float, epoch: float) -> float:
        """Return the learning rate of a step.

        Args:
            share: steps before it, as a share of the whole training, in [0, 1).
            epoch: steps before it, in epochs.
        """
        ...


@dataclass(frozen=True)
class Cosine:
    """Rises linearly from 0 to `peak` in `warm_up`, a fraction of all steps, then falls to 0 as half a cosine."""

    peak: float
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        convert_fields(self)
        _check_positive("peak", self.peak)
        if not 0 <= self.warm_up < 1:
            raise InputError(f"warm_up must be a share of all steps, in [0, 1), not {self.warm_up}")

    def __call__(self, share: float, epoch: float) -> float:
        """Return the learning rate."""
        if share < self.warm_up:
            return self.peak * share / self.warm_up
        return self.peak * (1 + math.cos(math.pi * (share - self.warm_up) / (1 - self.warm_up))) / 2


@dataclass(frozen=True)
class Staircase:
    """Multiplies the rate by `factor` every `epochs` epochs, as in TF-Slim's staircase decay."""

    initial: float
    factor: float = 0.97
    epochs: float = 2.4

    def __post_init__(self) -> None:
        convert_fields(self)
        for name in ("initial", "factor", "epochs"):
            _check_positive(name, getattr(self, name))

    def __call__(self, share: float, epoch: float) -> float:
        """Return the learning rate."""
        falls = int(epoch / self.epochs + 1e-9)  # 7.2 / 2.4 may round to less than 3
        return float(self.initial * self.factor**falls)


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    nesterov: bool = True

    def __post_init__(self) -> None:
        convert_fields(self)
        check_range("momentum", self.momentum, 0, 1)


@dataclass(frozen=True)
class RmsProp:
    """RMSProp as in TensorFlow 1: epsilon inside the root, and a mean square that starts at 1."""

    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        convert_fields(self)
        check_range("decay", self.decay, 0, 1)
        check_range("momentum", self.momentum, 0, 1)
        _check_positive("epsilon", self.epsilon)


@dataclass(frozen=True)
class Muon:
    """Orthogonalized momentum for kernels that mix channels, `Sgd` with Nesterov momentum for all other parameters.

    These networks need far fewer epochs than with SGD. The learning rate is that of the orthogonalized steps.
    """

    momentum: float = 0.9
    decay: float = 0.02
    """Weight decay of the orthogonalized kernels, multiplied by the learning rate; they have no L2 term."""
    others: float = 4.0
    """Factor of the learning rate for all other parameters."""

    def __post_init__(self) -> None:
        convert_fields(self, decay=0, others=0)
        check_range("momentum", self.momentum, 0, 1)


@dataclass(frozen=True)
class ShiftAndFlip:
    """For small images: random mirroring, shifts of up to `shift` pixels, and a grey square of side `cutout`.

    All images are decoded once, at the recipe's image size, and kept in memory. A `cutout` of 0 is none; its source
    is DeVries and Taylor, 2017.
    """

    shift: int = 4
    cutout: int = 0

    def __post_init__(self) -> None:
        convert_fields(self, shift=0, cutout=0)


@dataclass(frozen=True)
class CropAndFlip:
    """For larger images: a random crop resized to the image size, random mirroring, and distorted colours.

    As in TF-Slim's `inception_preprocessing.preprocess_for_train`: the crop covers `area` of the image, its ratio of
    width to height is in `ratio`; brightness changes by up to 32/255, saturation and contrast by a factor from 0.5 to
    1.5, hue by up to 0.2 of a circle. Images are decoded when they are needed.
    """

    area: tuple[float, float] = (0.05, 1.0)
    ratio: tuple[float, float] = (0.75, 1.33)
    colours: bool = True

    def __post_init__(self) -> None:
        convert_fields(self)
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise InputError(f"area must be two rising shares of the image, in (0, 1], not {self.area}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise InputError(f"ratio must be two rising numbers above 0, not {self.ratio}")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training, except the data and the machine.

    Raises `InputError` if the values contradict each other.
    """

    spec: NetworkSpec
    stages: tuple[tuple[int, int], ...]
    """(image size, epochs), in order. Epochs on small images are much cheaper."""
    batch_size: int
    """Images in an optimizer step, over all devices."""
    schedule: Schedule
    optimizer: Sgd | RmsProp | Muon = Sgd()
    augmentation: ShiftAndFlip | CropAndFlip = ShiftAndFlip()
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    """Weight of each class in the losses; None for equal weights."""
    aux_weight: float = 0.4
    """Weight of the auxiliary classifier's loss, if the network has one."""
    clip_norm: float | None = None
    """Largest norm of all gradients together, including those of the L2 terms (which `Muon` does not use)."""
    average_decay: float = 0.9999
    """Decay of the moving average of the weights, which becomes the model. It is lower in the first steps."""
    batch_norm_momentum: float = 0.99
    """Share of the old value in each update of batch normalization's moving averages, as in TensorFlow."""
    layer_decay: float = 1.0
    """Learning rate of a cell as a fraction of the next cell's."""
    drop_path_rises: bool = True
    """Whether path dropout rises with step / total steps (from scratch), or has its final rate throughout."""
    freeze_batch_norm: bool = False
    """Whether batch normalization keeps the moving averages of the first weights."""
    seed: int = 0
    first_weights: str | None = None
    """SHA-256 of the first weights, `Model.checksum`; None for random weights."""
    notes: dict[str, str] = field(default_factory=dict)
    """Further information for readers; it has no effect."""

    def __post_init__(self) -> None:
        convert_fields(self, seed=0, aux_weight=0)
        self._check_parts()
        self._check_numbers()
        if not self.stages or any(size < 1 or epochs < 1 for size, epochs in self.stages):
            raise InputError(f"stages must be pairs of image size and epochs, at least 1 each, not {self.stages}")
        if self.batch_size < 2:
            raise InputError(f"batch_size={self.batch_size}: batch normalization needs at least 2 images")
        if self.spec.num_classes is None:
            raise InputError("the network has no classifier to train; set num_classes in its spec")
        height, width = self.spec.image_size
        if height != width:
            raise InputError(f"training needs square images, not {height}x{width}: set another image_size")
        if isinstance(self.augmentation, ShiftAndFlip) and not 0 <= self.augmentation.shift < height:
            raise InputError(
                f"a shift of {self.augmentation.shift} pixels does not fit images of {height}x{width}: make it smaller"
            )
        if self.class_weights is not None and len(self.class_weights) != self.spec.num_classes:
            raise InputError(f"{len(self.class_weights)} class_weights do not fit {self.spec.num_classes} classes")
        if len({size for size, _ in self.stages}) > 1 and self.spec.aux_head:
            raise InputError("an auxiliary head needs one image size: use one size in all stages, or aux_head=False")

    def _check_parts(self) -> None:
        for name, kinds in _KINDS.items():
            if not isinstance(getattr(self, name), kinds):
                words = " or ".join(kind.__name__ for kind in kinds)
                raise InputError(f"{name} must be a {words}, not {shown(getattr(self, name))}")
        schedule: Any = self.schedule
        # Resuming compares the fields of the schedule.
        if not (is_dataclass(schedule) and callable(schedule)) or isinstance(schedule, type):
            raise InputError(
                "schedule must be a Cosine, a Staircase or a dataclass of your own with __call__(share, epoch), "
                f"not {shown(schedule)}"
            )

    def _check_numbers(self) -> None:
        """Raise `InputError` for numbers out of their range."""
        for name in ("label_smoothing", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        check_range("batch_norm_momentum", self.batch_norm_momentum, 0, 1)
        _check_positive("layer_decay", self.layer_decay)
        if self.clip_norm is not None:
            _check_positive("clip_norm", self.clip_norm)
        weights = self.class_weights
        if weights is not None and not (all(0 <= each < math.inf for each in weights) and any(weights)):
            raise InputError(f"class_weights must be at least 0, and not all 0, not {weights}")

    def with_cell(self, cell: CellSpec, num_cells: int | None = None, filters: int | None = None) -> "Recipe":
        """Return the recipe for a network of another cell, and of another depth and width unless they are None.

        The network has no reduction cell: the one cell also reduces. Raises `SpecError`.
        """
        spec = replace(
            self.spec,
            cell=cell,
            reduction_cell=None,
            skip_reduction_input=True,
            num_cells=self.spec.num_cells if num_cells is None else num_cells,
            filters=self.spec.filters if filters is None else filters,
        )
        return replace(self, spec=spec)

    def changed(
        self,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        seed: int | None = None,
    ) -> "Recipe":
        """Return the recipe with other values, unless they are None.

        Args:
            epochs: number of epochs, divided among the stages as before, at least one each.
            batch_size: images in an optimizer step.
            learning_rate: highest rate of the schedule.
            seed: seed of everything random.

        Raises:
            InputError: fewer epochs than stages, a rate that is not positive, or as in `Recipe`.
        """
        changes: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
        if epochs is not None:
            changes["stages"] = _divided(self.stages, whole_number("epochs", epochs))
        if learning_rate is not None:
            learning_rate = number("learning_rate", learning_rate)
            _check_positive("learning_rate", learning_rate)
            name = {Cosine: "peak", Staircase: "initial"}.get(type(self.schedule))
            if name is None:
                raise InputError(f"a {type(self.schedule).__name__} has no learning rate to set: change the recipe")
            changes["schedule"] = replace(self.schedule, **{name: learning_rate})  # type: ignore[type-var]
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    @property
    def sizes(self) -> list[int]:
        """The image size of each epoch."""
        return [size for size, count in self.stages for _ in range(count)]

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values for JSON and comparisons, without `notes`, which have no effect."""
        parts = {name: type(getattr(self, name)).__name__ for name in ("schedule", "optimizer", "augmentation")}
        plain = {**asdict(self), "spec": self.spec.to_dict(), "kinds": parts}
        del plain["notes"]
        for later in ("class_weights", "first_weights"):
            if plain[later] is None:  # so that trainings of earlier versions, which lack it, can be resumed
                del plain[later]
        return plain


_KINDS: dict[str, tuple[type[Any], ...]] = {
    "spec": (NetworkSpec,),
    "optimizer": (Sgd, RmsProp, Muon),
    "augmentation": (ShiftAndFlip, CropAndFlip),
}


def _check_positive(name: str, value: float) -> None:
    """Raise `InputError` for a number that is not finite and above 0."""
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{name} must be more than 0, not {value}")


def _divided(stages: tuple[tuple[int, int], ...], epochs: int) -> tuple[tuple[int, int], ...]:
    """Return the stages with `epochs` epochs in total, divided in proportion, with at least one each."""
    if epochs < len(stages):
        raise InputError(f"{epochs} epochs are too few for the recipe's {len(stages)} stages: use at least that many")
    before, total, done, divided = 0, sum(count for _, count in stages), 0, []
    for index, (size, count) in enumerate(stages):
        before += count
        # Leave at least one epoch for each later stage.
        end = min(max(round(epochs * before / total), done + 1), epochs - (len(stages) - 1 - index))
        divided.append((size, end - done))
        done = end
    return tuple(divided)
