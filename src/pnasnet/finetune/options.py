"""What may be chosen about a fine-tuning beside the model and the pictures."""

import math
from dataclasses import dataclass, field

from ..errors import InputError
from .splits import Fractions


@dataclass(frozen=True)
class FinetuneOptions:
    """What may be chosen about a fine-tuning.

    Raises `InputError` for values that make no sense.
    """

    validation: float = 0.15
    """Share of each class's pictures that choose the regularization and end the training."""
    test: float = 0.15
    """Share of each class's pictures that only measure the result."""
    balanced: bool = False
    """Whether each class weighs the same, in losses and in choices, however many pictures it has."""
    seed: int = 0
    """Decides a new split, and all randomness."""
    full: bool = False
    """Whether to train the whole network after the classifier."""
    epochs: int = 20
    """With `full`: how long at most."""
    patience: int = 5
    """With `full`: how many epochs without a lower validation loss end the training."""
    learning_rate: float = 0.01
    """With `full`: the highest rate, of the classifier."""
    layer_decay: float = 0.8
    """With `full`: what a cell's rate is multiplied by, against that of the cell after it."""
    training_batch: int = 32
    """With `full`: pictures in a step."""
    train_batch_norm: bool = False
    """With `full`: whether batch normalization adapts to the pictures; few of them, or small batches, harm it."""

    fractions: Fractions = field(init=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
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
