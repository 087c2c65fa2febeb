"""What is searched for: pictures that are in the features already, and others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .features import Features
from .sketch import Vectors

Embed = Callable[[list[str]], Iterable[tuple[str, Vectors | None, str | None]]]
"""From paths to each one's vector [F], or a line that says why there is none."""


@dataclass(frozen=True)
class Query:
    """A picture to search for.

    Attributes:
        path: what it is called.
        vector: float32 [F]; None where the picture cannot be read.
        id: its row in the features, where it has one.
        error: why there is no vector.
    """

    path: str
    vector: Vectors | None = None
    id: int | None = None
    error: str | None = None


def find_queries(
    features: Features, names: Sequence[str], expand: Callable[[list[str]], list[str]], embed: Embed
) -> list[Query]:
    """Return the pictures that are named, in order.

    A name that is a path in the features, or stands for one, has its vector from there, whether the picture is still
    on disk or not; `./a.jpg` and `a.jpg` are one path.

    Args:
        features: where to look first.
        names: paths as they are in the features, or anything that `expand` takes.
        expand: returns the pictures that other names stand for; called only if there are any.
        embed: called only with pictures that are not in the features, if there are any.
    """
    known = features.find(names)
    expanded = {name: expand([name]) for name in dict.fromkeys(names) if name not in known}
    paths = [path for name in names for path in expanded.get(name, [name])]
    if others := set(paths) - set(names):  # all parts are looked through, so not without need
        known |= features.find(sorted(others))
    new = list(dict.fromkeys(path for path in paths if path not in known))
    embedded = {path: Query(path, vector, error=error) for path, vector, error in embed(new)} if new else {}
    places = [known[path] for path in paths if path in known]
    vectors = iter(features.vectors(np.array(places, np.int64)))
    return [Query(path, next(vectors), known[path]) if path in known else embedded[path] for path in paths]
