"""Measures how near the outputs of a network are to reference outputs."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fidelity:
    """The fidelity of outputs to reference outputs, over some images.

    Attributes:
        images: number of images.
        mean_cosine: mean cosine between the features of an image and its reference features.
        low_cosine: 1st percentile of these cosines.
        least_cosine: smallest of these cosines.
        same_top1: share of images, in [0, 1], with the same most probable class; None without a classifier.
    """

    images: int
    mean_cosine: float
    low_cosine: float
    least_cosine: float
    same_top1: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


def cosines(features: Floats, reference: Floats) -> NDArray[np.float64]:
    """Return the cosine between each pair of rows, [n]; 1 if both rows are zero, 0 if one is."""
    one, other = features.astype(np.float64), reference.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    both_zero = ~(one.any(axis=1) | other.any(axis=1))
    products: NDArray[np.float64] = (one * other).sum(axis=1)
    return np.where(lengths > 0, products / np.maximum(lengths, np.finfo(np.float64).tiny), both_zero)


def compare(features: Floats, reference: Floats, logits: Floats | None, reference_logits: Floats | None) -> Fidelity:
    """Return the fidelity of features [images, F] and logits [images, classes] to reference ones."""
    each = cosines(features, reference)
    same = None
    if logits is not None and reference_logits is not None:
        same = float((logits.argmax(axis=1) == reference_logits.argmax(axis=1)).mean())
    low = float(np.percentile(each, 1, method="lower"))
    return Fidelity(len(each), float(each.mean()), low, float(each.min()), same)
