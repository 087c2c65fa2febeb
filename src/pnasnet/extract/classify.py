"""Compute the most probable classes of images."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..pictures import Picture
from ..support.arguments import checked
from ..support.typed import whole_number
from .embed import extract
from .options import DEFAULTS, ExtractOptions

if TYPE_CHECKING:
    from ..module.module import Module


@dataclass(frozen=True)
class Classification:
    """The most probable classes of an image, or its error.

    Attributes:
        path: the image's name.
        classes: names and probabilities in [0, 1], most probable first; empty after an error.
        error: the error in one line; None if there was none.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import classify, find_named
        >>> (found,) = classify(Module("pnasnet_tiny"), find_named(["animals/cat/01.jpg"]))
        >>> len(found.classes), found.error
        (5, None)
    """

    path: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


@checked
def classify(
    module: "Module", pictures: Iterable[Picture], options: ExtractOptions = DEFAULTS, *, top: int = 5
) -> Generator[Classification, None, None]:
    """Yield the `top` classes of each image, in order.

    If the names of the classes are unknown, they are `class N`, where N is the index of the logit.

    Raises:
        InputError: the network has no classifier, or `top` is less than 1.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import classify, list_units, pictures_of
        >>> for found in classify(Module("pnasnet_tiny"), pictures_of(list_units(["animals/cat/01.jpg"])), top=1):
        ...     found.path, found.classes[0][0]
        ('animals/cat/01.jpg', 'cat')
    """
    top = whole_number("top", top)
    classes = module.model.spec.num_classes
    if classes is None:
        raise InputError(f"{module.model.name} has no classifier: its weights compute feature vectors only")
    names = module.model.labels or tuple(f"class {index}" for index in range(classes))
    with closing(extract(module, pictures, options, endpoint="Predictions")) as batches:
        for batch in batches:
            vectors = iter(batch.vectors)
            for row in batch.rows:
                if row.error is not None:
                    yield Classification(row.path, error=row.error)
                    continue
                probabilities = next(vectors)
                best = (-probabilities).argsort(kind="stable")[:top]
                yield Classification(row.path, tuple((names[index], float(probabilities[index])) for index in best))
