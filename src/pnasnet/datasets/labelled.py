"""Labelled pictures as one value, wherever they lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..images import Source

Read = Callable[[int], Source]
"""From a picture's index to its path or the bytes of its file. Called from several threads and processes at once."""


@dataclass(frozen=True)
class LabelledImages:
    """Pictures with their classes, in a fixed order; nothing is decoded, and where possible nothing is read yet.

    Attributes:
        names: what each picture is called: its path, or `shard.tar/key.jpg`, or `file.parquet#17`; no two alike.
        labels: [N] int64, the index of each picture's class.
        classes: the names of the classes, no two alike.
        read: returns the picture at an index, as `images.decode` takes it.
    """

    names: Sequence[str]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    read: Read

    def __post_init__(self) -> None:
        """Check that the parts belong together. Raises `InputError`."""
        if len(self.names) != len(self.labels):
            raise InputError(f"{len(self.names)} pictures have {len(self.labels)} labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"labels from {self.labels.min()} to {self.labels.max()} do not fit {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def take(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "LabelledImages":
        """Return the pictures at `indices`, in that order, with the same classes."""
        chosen = np.asarray(indices, np.int64)
        names = [self.names[index] for index in chosen]
        return replace(self, names=names, labels=self.labels[chosen], read=_Taken(self.read, chosen))

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the number of pictures of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))


@dataclass(frozen=True)
class _Taken:
    """Reads the pictures of a selection. A class, not a closure, so that worker processes can be given it."""

    read: Read
    indices: npt.NDArray[np.int64]

    def __call__(self, index: int) -> Source:
        return self.read(int(self.indices[index]))
