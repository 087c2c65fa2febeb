"""`LabelledImages`: the images and labels of a dataset as one value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..images import Source

Read = Callable[[int], Source]
"""Returns the path or the bytes of the image at an index. Called from several threads and processes at once."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes, in a fixed order. Images are read when they are needed, and decoded by the caller.

    Attributes:
        names: unique names of the images: paths, `shard.tar/key.jpg`, or `file.parquet#17`.
        labels: int64 [N], the index of each image's class.
        classes: unique names of the classes.
        read: returns the image at an index in a form that `images.decode` accepts.

    Example:
        >>> from pnasnet.datasets import open_dataset
        >>> data = open_dataset("animals")
        >>> data.classes, len(data), data.names[0]
        (('bird', 'cat', 'frog'), 60, 'animals/bird/01.jpg')
        >>> data.take([0, 1, 20]).counts()
        array([2, 1, 0])
    """

    names: Sequence[str]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    read: Read

    def __post_init__(self) -> None:
        if len(self.names) != len(self.labels):
            raise InputError(f"{len(self.names)} images have {len(self.labels)} labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"labels from {self.labels.min()} to {self.labels.max()} do not match {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "LabelledImages":
        """Return the images at `indices`, in that order, with the same classes."""
        chosen = np.asarray(indices, np.int64)
        names = [self.names[index] for index in chosen]
        # A partial, not a closure, because worker processes unpickle it.
        return replace(self, names=names, labels=self.labels[chosen], read=partial(_read_chosen, self.read, chosen))

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the number of images of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))


def _read_chosen(read: Read, chosen: npt.NDArray[np.int64], index: int) -> Source:
    return read(int(chosen[index]))
