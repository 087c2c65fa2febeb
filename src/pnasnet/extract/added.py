"""What sources hold that a folder does not: listed behind its inputs, so that any run goes on with it."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..pictures import Files, Unit, in_units
from .contents import digest_of
from .parts import FeatureFolder

_DIGEST = "S16"


def add_listed(folder: FeatureFolder, listed: Iterable[Unit]) -> int:
    """List behind a folder's inputs what of `listed` is not among them; return how many of them are not in `listed`.

    Inputs are files, shards, tables and splits, each known by its name: what became of one since is not looked at.

    Raises:
        OutputError: the list cannot be written. InputError: a source is not there, or cannot be listed.
    """
    folder.remove_leftovers()
    known = _Known(folder.inputs())
    folder.add_inputs(in_units(_not_in(known, listed)))
    return known.unseen


def _not_in(known: "_Known", listed: Iterable[Unit]) -> Iterator[str | Unit]:
    """Yield the files and the other units that are new."""
    for unit in listed:
        new = known.without(unit.inputs)
        if isinstance(unit, Files):
            yield from new
        elif new:
            yield unit


class _Known:
    """Names of inputs, in 17 bytes each: they may be many millions."""

    def __init__(self, units: Iterable[Unit]) -> None:
        digests = bytearray()
        for unit in units:
            digests += _digests(unit.inputs)
        self._known = np.unique(np.frombuffer(digests, _DIGEST))
        self._seen = np.zeros(len(self._known), np.bool_)

    @property
    def unseen(self) -> int:
        """How many were not asked for."""
        return int((~self._seen).sum())

    def without(self, names: Sequence[str]) -> list[str]:
        """Return those of `names` that are not known."""
        if not len(self._known):
            return list(names)
        wanted = np.frombuffer(_digests(names), _DIGEST)
        places = np.searchsorted(self._known, wanted)
        places[places == len(self._known)] = 0
        found: NDArray[np.bool_] = self._known[places] == wanted
        self._seen[places[found]] = True
        return [name for name, is_known in zip(names, found.tolist(), strict=True) if not is_known]


def _digests(names: Iterable[str]) -> bytes:
    return b"".join(digest_of(name.encode("utf-8", "surrogatepass")) for name in names)
