"""What is searched for: pictures that the features hold, and others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .features import Features
from .parts import Numbers

Embed = Callable[[list[str]], Iterable[tuple[str, Numbers | None, str | None]]]
"""From paths to each one's vector [F], or the reason why there is none."""


@dataclass(frozen=True)
class Query:
    """A picture to search for.

    Attributes:
        path: as the user named it, or as its folder or shard lists it.
        vector: [F]; None if the picture cannot be read.
        id: its row in the features, if it has one.
        error: why there is no vector.
    """

    path: str
    vector: Numbers | None = None
    id: int | None = None
    error: str | None = None


def find_queries(
    features: Features, names: Sequence[str], expand: Callable[[list[str]], list[str]], embed: Embed
) -> list[Query]:
    """Return the named pictures, in order.

    A name that the features hold, or that stands for pictures they hold, gets its vector from them, even if the picture
    is gone; `./a.jpg` and `a.jpg` are the same path.

    Args:
        features: where to look first.
        names: paths as the features have them, or anything that `expand` accepts.
        expand: returns the pictures that other names stand for; called only if there are any.
        embed: called with the pictures that the features do not hold, if there are any.
    """
    known = features.lookup(names)
    expanded = {name: expand([name]) for name in dict.fromkeys(names) if name not in known}
    paths = [path for name in names for path in expanded.get(name, [name])]
    if others := set(paths) - set(names):  # only if needed: all parts are read for it
        known |= features.lookup(sorted(others))
    new = list(dict.fromkeys(path for path in paths if path not in known))
    embedded = {path: Query(path, vector, error=error) for path, vector, error in embed(new)} if new else {}
    return [Query(path, known[path][1], known[path][0]) if path in known else embedded[path] for path in paths]
