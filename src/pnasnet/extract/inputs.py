"""The inputs of a folder of features: a list of units that is written before the first image is read, and only grows.

A resumed run therefore has the same inputs in the same order, even if the sources have changed since. `--add` appends
files, shards, tables and splits whose names are not in the list yet.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..pictures import Files, Unit, in_units
from ..support.contexts import contextmanager
from ..support.files import DamagedError, reading, replacing
from ..support.urls import is_url, redact
from .contents import digest_of
from .folder import INPUTS, FeatureFolder

_DIGEST = "S16"


class Inputs:
    """The list of a folder's units."""

    def __init__(self, folder: FeatureFolder) -> None:
        self._folder, self._path = folder, folder.path / INPUTS

    @property
    def are_listed(self) -> bool:
        """Whether the list exists."""
        return self._path.is_file()

    def __iter__(self) -> Iterator[Unit]:
        """Yield the units. Raises `InputError` if the list is damaged."""
        number = 0
        with reading(self._path), self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield self._unit(number, line)
        if number == 0:
            raise self._damaged(1, "it is empty")

    def _unit(self, number: int, line: bytes) -> Unit:
        try:
            return Unit.from_dict(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._damaged(number, f"{type(error).__name__}: {error}") from error

    def _damaged(self, line: int, why: str) -> DamagedError:
        return DamagedError(
            f"line {line} of {self._path} is damaged ({why}): choose another folder, or overwrite it (--overwrite)"
        )

    def write(self, units: Iterable[Unit]) -> None:
        """Write the list. Raises `InputError` if there are no units, `OutputError` if it cannot be written."""
        lines = map(_line, units)
        if (first := next(lines, None)) is None:
            raise InputError("the list of sources is empty: name at least one source")
        with self._replacing() as file:
            file.writelines(chain([first], lines))

    @contextmanager
    def _replacing(self) -> Iterator[BinaryIO]:
        """Replace the list with a file that only the user can read: URLs in it may hold credentials."""
        with replacing(self._path) as temporary, temporary.open("wb") as file:
            temporary.chmod(0o600)
            yield file

    def renew(self, listed: Callable[[], Iterable[Unit]]) -> None:
        """If the list holds credentials, replace them with those of a new listing of the same inputs.

        So a run can be resumed after a signature in a URL has expired. Raises `OutputError`.
        """
        if not any(_has_credentials(unit) for unit in self):
            return
        with suppress(_ChangedError, InputError), self._replacing() as file:
            for old, new in zip_longest(self, listed()):
                if old is None or new is None or old.inputs != new.inputs or old.kind != new.kind:
                    raise _ChangedError
                file.write(_line(new))

    def add(self, listed: Iterable[Unit]) -> int:
        """Append the new inputs of `listed`, and return the number of known inputs that are no longer listed.

        Inputs are compared by name, not by content. If inputs are appended, the folder is no longer marked complete.
        Raises `OutputError` if the list cannot be written, and the errors of `listed`.
        """
        known = _Known(self)
        lines = map(_line, in_units(_new(known, listed)))
        if (first := next(lines, None)) is None:
            return known.unseen
        with self._replacing() as file:
            with self._path.open("rb") as old:
                while block := old.read(1 << 20):
                    file.write(block)
            file.writelines(chain([first], lines))
            # Before the new list is in place: the mark must never cover inputs without rows.
            self._folder.unmark()
        return known.unseen


class _ChangedError(Exception):
    """The sources now list other inputs."""


def _line(unit: Unit) -> bytes:
    return json.dumps(unit.to_dict()).encode() + b"\n"


def _has_credentials(unit: Unit) -> bool:
    """Return whether a URL of the unit holds user info or a signature."""
    values = unit.to_dict().values()
    texts = chain.from_iterable(value if isinstance(value, tuple | list) else (value,) for value in values)
    return any(isinstance(text, str) and is_url(text) and redact(text) != text for text in texts)


def _new(known: "_Known", listed: Iterable[Unit]) -> Iterator[str | Unit]:
    """Yield the new files by name, and other units that have new inputs."""
    for unit in listed:
        names = known.missing(unit.inputs)
        if isinstance(unit, Files):
            yield from names
        elif names:
            yield unit


class _Known:
    """The names of known inputs, in 17 bytes each: there may be many millions."""

    def __init__(self, units: Iterable[Unit]) -> None:
        digests = bytearray()
        for unit in units:
            digests += _digests(unit.inputs)
        self._known = np.unique(np.frombuffer(digests, _DIGEST))
        self._seen = np.zeros(len(self._known), np.bool_)

    @property
    def unseen(self) -> int:
        """Number of names that have not been looked up."""
        return int((~self._seen).sum())

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return the names that are not known."""
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
