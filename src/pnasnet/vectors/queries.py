"""Queries: images that the features hold, and others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..support.arguments import checked
from .features import Features
from .parts import Numbers

Embed = Callable[[list[str]], Iterable[tuple[str, Numbers | None, str | None]]]
"""Yields, for each path, its vector [F] or the error."""


@dataclass(frozen=True)
class Query:
    """An image to search for.

    Attributes:
        path: the name from the user, or from its folder or shard.
        vector: the vector [F]; None if the image cannot be read.
        id: its row in the features, if it has one.
        error: the reason why there is no vector.
    """

    path: str
    vector: Numbers | None = None
    id: int | None = None
    error: str | None = None


@checked
def find_queries(
    features: Features, names: Sequence[str], expand: Callable[[list[str]], list[str]], embed: Embed
) -> list[Query]:
    """Return the named images, in order.

    Images that the features hold get their vectors from there, even if the files are gone; `./a.jpg` and `a.jpg` are
    the same path.

    Args:
        features: the vectors at hand.
        names: paths as the features have them, or anything that `expand` accepts.
        expand: returns the images that other names stand for; called only if there are any.
        embed: called with the images that the features do not hold, if there are any.
    """
    known = features.lookup(names)
    expanded = {name: expand([name]) for name in dict.fromkeys(names) if name not in known}
    paths = [path for name in names for path in expanded.get(name, [name])]
    if others := set(paths) - set(names):  # only if needed: it reads all parts
        known |= features.lookup(sorted(others))
    new = list(dict.fromkeys(path for path in paths if path not in known))
    embedded = {path: Query(path, vector, error=error) for path, vector, error in embed(new)} if new else {}
    return [Query(path, known[path][1], known[path][0]) if path in known else embedded[path] for path in paths]
