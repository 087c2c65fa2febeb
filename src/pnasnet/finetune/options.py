"""The options of a fine-tuning, apart from the model and the images."""

import math
from dataclasses import asdict, dataclass

from ..errors import InputError
from ..support.typed import typed
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
    """Fraction of each class's images that choose the regularization and end the training."""
    test: float = 0.15
    """Fraction of each class's images that only measure the result."""
    balanced: bool = False
    """Whether all classes have the same weight, in losses and in choices, whatever their numbers of images."""
    seed: int = 0
    """Seed of a new split, and of all randomness."""
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
    """With `full`: whether batch normalization adapts to the images. That harms with few images or small batches."""

    def __post_init__(self) -> None:
        for name, value in typed(type(self), asdict(self)).items():
            object.__setattr__(self, name, value)
        assert self.split  # checks its values
        if self.epochs < 1 or self.patience < 1:
            raise InputError(f"epochs {self.epochs} and patience {self.patience} must be at least 1")
        if self.training_batch < 2 or not 0 < self.learning_rate < math.inf or not 0 < self.layer_decay <= 1:
            raise InputError(
                f"training batch {self.training_batch} must be at least 2, learning rate {self.learning_rate} above 0, "
                f"and layer decay {self.layer_decay} in (0, 1]"
            )

    @property
    def split(self) -> SplitSettings:
        """The settings of a new split."""
        return SplitSettings(self.validation, self.test, self.seed)
