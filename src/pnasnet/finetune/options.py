"""The options of a fine-tuning, apart from the model and the images."""

import math
import operator
from dataclasses import dataclass, field

from ..errors import InputError
from .splits import Fractions

_INTEGERS = ("seed", "epochs", "patience", "training_batch")
_NUMBERS = ("validation", "test", "learning_rate", "layer_decay")
_SWITCHES = ("balanced", "full", "train_batch_norm")


@dataclass(frozen=True)
class FinetuneOptions:
    """The options of a fine-tuning. Raises `InputError` for values out of range or of another type.

    NumPy's numbers are accepted and become Python's.
    """

    validation: float = 0.15
    """Share of each class's images that choose the regularization and end the training."""
    test: float = 0.15
    """Share of each class's images that only measure the result."""
    balanced: bool = False
    """Whether all classes weigh the same, in losses and in choices, whatever their numbers of images."""
    seed: int = 0
    """Decides a new split, and all randomness."""
    full: bool = False
    """Whether to train the whole network after the classifier."""
    epochs: int = 20
    """With `full`: limit of epochs."""
    patience: int = 5
    """With `full`: epochs in a row without a lower validation loss that end the training."""
    learning_rate: float = 0.01
    """With `full`: the highest learning rate, that of the classifier."""
    layer_decay: float = 0.8
    """With `full`: the learning rate of a cell relative to that of the following cell."""
    training_batch: int = 32
    """With `full`: images per step."""
    train_batch_norm: bool = False
    """With `full`: whether batch normalization adapts to the images, which few of them, or small batches, harm."""

    fractions: Fractions = field(init=False)

    def __post_init__(self) -> None:
        for name in _INTEGERS:
            object.__setattr__(self, name, _integer(name, getattr(self, name)))
        for name in _NUMBERS:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in _SWITCHES:
            object.__setattr__(self, name, bool(getattr(self, name)))
        object.__setattr__(self, "fractions", Fractions(self.validation, self.test))
        if self.seed < 0:
            raise InputError(f"seed {self.seed} must not be negative")
        if self.epochs < 1 or self.patience < 1:
            raise InputError(f"epochs {self.epochs} and patience {self.patience} must be at least 1")
        if self.training_batch < 2 or not 0 < self.learning_rate < math.inf or not 0 < self.layer_decay <= 1:
            raise InputError(
                f"training batch {self.training_batch} must be at least 2, learning rate {self.learning_rate} above 0, "
                f"and layer decay {self.layer_decay} in (0, 1]"
            )


def _integer(name: str, value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type] # raises TypeError
    except TypeError:
        raise InputError(f"{name} must be an integer, not {value!r}") from None


def _number(name: str, value: object) -> float:
    try:
        if isinstance(value, bool | str):
            raise TypeError
        return float(value)  # type: ignore[arg-type] # raises TypeError
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, not {value!r}") from None
