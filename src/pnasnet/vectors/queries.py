"""Finds the vectors of queries: in the features, or computed from images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..support.arguments import checked
from .features import Features
from .parts import Numbers

Embed = Callable[[list[str]], Iterable[tuple[str, Numbers | None, str | None]]]
"""Yields each path with its vector [F], or with an error."""


@dataclass(frozen=True)
class Query:
    """An image to search for.

    Attributes:
        path: the name as the user gave it, or as its folder or shard lists it.
        vector: the vector [F]; None if the image cannot be read.
        id: the id of its row; None if the features do not hold it.
        error: the error in one line, if the image cannot be read.
    """

    path: str
    vector: Numbers | None = None
    id: int | None = None
    error: str | None = None


@checked
def find_queries(
    features: Features, names: Sequence[str], expand: Callable[[list[str]], list[str]], embed: Embed
) -> list[Query]:
    """Return a query for each named image, in order.

    Vectors are looked up in the features, even if the file is gone. `./a.jpg` and `a.jpg` are the same path. Other
    vectors are computed.

    Args:
        features: the features to search.
        names: paths in the features, or sources for `expand`.
        expand: returns the paths of the images in sources; called with names that the features do not hold.
        embed: computes the vectors of images that the features do not hold; not called if there are none.
    """
    known = features.lookup(names)
    expanded = {name: expand([name]) for name in dict.fromkeys(names) if name not in known}
    paths = [path for name in names for path in expanded.get(name, [name])]
    if others := set(paths) - set(names):  # only if needed: it reads all parts
        known |= features.lookup(sorted(others))
    new = list(dict.fromkeys(path for path in paths if path not in known))
    embedded = {path: Query(path, vector, error=error) for path, vector, error in embed(new)} if new else {}
    return [Query(path, known[path][1], known[path][0]) if path in known else embedded[path] for path in paths]
