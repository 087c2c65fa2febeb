"""The options of a fine-tuning, apart from the model and the images."""

import math
from dataclasses import dataclass

from ..errors import InputError
from ..support.typed import convert_fields
from .splits import SplitSettings


@dataclass(frozen=True)
class FinetuneOptions:
    """The options of a fine-tuning. Raises `InputError` for values of another type or out of range.

    NumPy's numbers are accepted, and converted to Python's.

    Example:
        >>> from pnasnet.finetune import FinetuneOptions
        >>> FinetuneOptions(test=0.25, seed=1).split
        SplitSettings(validation=0.15, test=0.25, seed=1)
    """

    validation: float = 0.15
    """Fraction of each class's images whose loss chooses the regularization and ends the training."""
    test: float = 0.15
    """Fraction of each class's images that only measure the accuracy."""
    balanced: bool = False
    """Whether all classes have the same weight, in losses and in choices, regardless of their numbers of images."""
    seed: int = 0
    """Seed of the split, if it is new, and of everything else that is random."""
    full: bool = False
    """Whether to train the whole network after the classifier."""
    epochs: int = 20
    """With `full`: limit of epochs."""
    patience: int = 5
    """With `full`: stop after this many epochs in a row without a lower validation loss."""
    learning_rate: float = 0.01
    """With `full`: the highest learning rate, that of the classifier."""
    layer_decay: float = 0.8
    """With `full`: the learning rate of a cell relative to that of the following cell."""
    training_batch: int = 32
    """With `full`: images per step."""
    train_batch_norm: bool = False
    """With `full`: whether batch normalization adapts to the images, harmful for few images or small batches."""

    def __post_init__(self) -> None:
        convert_fields(self, epochs=1, patience=1, training_batch=2)
        SplitSettings(self.validation, self.test, self.seed)  # checks these
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be more than 0, not {self.learning_rate}")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay must be more than 0 and at most 1, not {self.layer_decay}")

    @property
    def split(self) -> SplitSettings:
        """The settings of a new split."""
        return SplitSettings(self.validation, self.test, self.seed)
