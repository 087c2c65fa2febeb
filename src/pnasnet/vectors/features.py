"""Tables of vectors on disk: one Parquet file, or a folder of parts with one schema."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..support.arguments import checked
from ..support.paths import spellings
from ..support.text import clean, utf8
from .parts import Numbers, VectorFile, open_part, strings

log = logging.getLogger(__name__)

COMPARABLE = ("model", "weights_sha256", "endpoint", "preset", "image_size", "exif", "precision")
"""Metadata (without the prefix `pnasnet.`) whose values must be equal for vectors to be comparable."""

PARTS = "part-*.parquet"
"""Pattern of the files of features in a folder; others are ignored."""

PART_IDS = 1 << 32
"""The id of a row is the number of its part times `PART_IDS`, plus the number of the row in the part."""
_CANDIDATES = 8
"""Limit of the rows with one name among which one with a vector is searched."""
_NUMBERED = re.compile(r"(.+)#(\d{1,18})", re.DOTALL)

Ids = NDArray[np.int64]
"""Ids of rows, unique over all parts: see `PART_IDS`."""


@dataclass(frozen=True)
class VectorBlock:
    """Vectors [n, F], and the ids of their rows, int64 [n]."""

    ids: Ids
    vectors: Numbers


@dataclass(frozen=True)
class Entry:
    """The description of an image: its path, which is not trusted, and its size in pixels; None if unknown.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import open_features
        >>> open_features("features.parquet").entries(np.array([2]))
        [Entry(path='photos/coffee.jpg', width=600, height=400)]
    """

    path: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Features:
    """A table of comparable vectors on disk.

    Attributes:
        path: the file or folder.
        metadata: the metadata of the first part, without the prefix `pnasnet.`.
        parts: the files, sorted by name.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import open_features
        >>> features = open_features("features.parquet")
        >>> [block.vectors.shape for block in features.blocks()]
        [(4, 960)]
        >>> features.rows, features.length, features.column, features.exif
        (4, 960, 'embedding', False)
        >>> ids = np.array([1, 2])
        >>> [entry.path for entry in features.entries(ids)], features.vectors(ids).shape
        (['photos/chelsea.jpg', 'photos/coffee.jpg'], (2, 960))
        >>> features.columns(ids, ["status"]), features.pixels(ids)
        ([['ok', 'ok']], array([135300, 240000]))
        >>> features.lookup(["photos/coffee.jpg"])["photos/coffee.jpg"][0]
        2
    """

    path: Path
    metadata: Mapping[str, str]
    parts: tuple[VectorFile, ...]

    @property
    def column(self) -> str:
        """The name of the column of vectors."""
        return self.parts[0].column

    @property
    def length(self) -> int:
        """F, the length of each vector."""
        return self.parts[0].length

    @property
    def rows(self) -> int:
        """The number of rows, including those of failed images."""
        return sum(part.rows for part in self.parts)

    @property
    def exif(self) -> bool:
        """Whether the EXIF orientation was applied; True if the metadata lack it."""
        return self.metadata.get("exif", "true") == "true"

    def blocks(self, part: int | None = None) -> Iterator[VectorBlock]:
        """Yield all vectors, or those of one part, in order, a bounded number at a time. Failed rows are skipped.

        Raises `InputError` if a part cannot be read.
        """
        for number in range(len(self.parts)) if part is None else (part,):
            for rows, vectors in self.parts[number].blocks():
                yield VectorBlock(number * PART_IDS + rows, vectors)

    def vectors(self, ids: Ids) -> Numbers:
        """Return the vectors [n, F] of rows. Raises `InputError` if a row has no vector."""
        valid, vectors = self._vectors(ids)
        if not valid.all():
            name = self.entries(ids[~valid][:1])[0].path
            raise InputError(f"{self.path}: the row of {clean(name)} has no vector: index the features again")
        return vectors

    def entries(self, ids: Ids) -> list[Entry]:
        """Return the descriptions of the images in rows."""
        result = [Entry("")] * len(ids)
        for number, places in _by_part(ids):
            part = self.parts[number]
            rows = ids[places] % PART_IDS
            for place, row in zip(places.tolist(), rows.tolist(), strict=True):
                result[place] = Entry(self._numbered(number, row))
            for some, table in part.take(rows, part.described) if part.described else ():
                for place, row in zip(places[some].tolist(), table.to_pylist(), strict=True):
                    name = row.get(part.names) if part.names else None
                    path = result[place].path if name is None else name
                    result[place] = Entry(path, row.get("width"), row.get("height"))
        return result

    @checked
    def lookup(self, paths: Sequence[str]) -> dict[str, tuple[int, Numbers]]:
        """Return the id and the vector [F] of the first row of each path; paths without a vector are left out.

        A row with the path as given has precedence over one with another spelling of it.
        """
        names = {path: [utf8(each) for each in spellings(path)] for path in paths}
        candidates: dict[str, list[int]] = {}
        wanted = sorted({each for several in names.values() for each in several})
        for number, part in enumerate(self.parts):
            for name, row in part.find(strings(wanted)) if wanted else ():
                rows = candidates.setdefault(name, [])
                if len(rows) < _CANDIDATES:
                    rows.append(number * PART_IDS + row)
        candidates |= {name: [own] for name in wanted if (own := self._id_of(name)) is not None}
        ids = np.array([row for several in candidates.values() for row in several], np.int64)
        valid, vectors = self._vectors(ids)
        known = dict(zip(ids[valid].tolist(), vectors, strict=True))
        found = {name: [(row, known[row]) for row in several if row in known] for name, several in candidates.items()}
        rows_of = {path: [found[name][0] for name in several if found.get(name)] for path, several in names.items()}
        return {path: several[0] for path, several in rows_of.items() if several}

    def columns(self, ids: Ids, names: Sequence[str]) -> list[list[Any]]:
        """Return the values of columns in rows, a list for each column."""
        result: list[list[Any]] = [[None] * len(ids) for _ in names]
        for number, places in _by_part(ids):
            for some, table in self.parts[number].take(ids[places] % PART_IDS, names) if names else ():
                for values, column in zip(result, table.columns, strict=True):
                    for place, value in zip(places[some].tolist(), column.to_pylist(), strict=True):
                        values[place] = value
        return result

    def pixels(self, ids: Ids) -> NDArray[np.int64]:
        """Return width times height of the images in rows, int64 [n]; 0 if unknown."""
        result = np.zeros(len(ids), np.int64)
        for number, places in _by_part(ids):
            part, rows = self.parts[number], ids[places] % PART_IDS
            sides = [np.clip(part.numbers(side)[rows], 0, 1 << 30) for side in ("width", "height")]
            result[places] = sides[0] * sides[1]
        return result

    def _vectors(self, ids: Ids) -> tuple[NDArray[np.bool_], Numbers]:
        """Return a mask [n] of the rows that have a vector, and these vectors, in the order of the rows."""
        valid = np.zeros(len(ids), np.bool_)
        found: list[tuple[NDArray[np.intp], Numbers]] = []
        for number, places in _by_part(ids):
            has, some = self.parts[number].vectors(ids[places] % PART_IDS)
            valid[places] = has
            found.append((places[has], some))
        kind = np.result_type(np.float32, *(some.dtype for _, some in found))
        vectors: Numbers = np.zeros((len(ids), self.length), kind)
        for places, some in found:
            vectors[places] = some
        return valid, vectors[valid]

    def _numbered(self, part: int, row: int) -> str:
        """Return the name of a row without a path: `FILE#NUMBER`."""
        return f"{utf8(str(self.parts[part].path))}#{row}"

    def _id_of(self, name: str) -> int | None:
        """Return the id of the row for which `_numbered` returns this name; None if there is none."""
        found = _NUMBERED.fullmatch(name)
        for number, part in enumerate(self.parts):
            if found and part.names is None and utf8(str(part.path)) == found[1] and int(found[2]) < part.rows:
                return number * PART_IDS + int(found[2])
        return None


@checked
def open_features(path: str | Path, column: str | None = None, names: str | None = None) -> Features:
    """Open a table of vectors; reads only footers, and the first vector of lists of variable length.

    Args:
        path: a Parquet file, or a folder of `part-*.parquet`.
        column: the column of vectors; required if there are several.
        names: the column with the names of the images; by default `path`. Without such a column, rows are named by
            their file and number.

    Raises:
        InputError: the path does not exist or holds no vectors, or its parts are not comparable with each other.
        UnknownNameError: there is no such column.

    Example:
        >>> from pnasnet.vectors import open_features
        >>> features = open_features("features.parquet")
        >>> features.rows, features.length, features.metadata["model"]
        (4, 960, 'pnasnet_tiny')
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob(PARTS))
        if not files:
            raise InputError(f"{path} holds no features (no {PARTS}): name a folder written by pnasnet embed")
    elif path.exists():
        files = [path]
    else:
        raise InputError(f"{path} does not exist: name a Parquet file with vectors, or a folder of {PARTS}")
    parts = tuple(open_part(file, column, names) for file in files)
    first = parts[0]
    for part in parts[1:]:
        check_comparable(part.metadata, first.metadata, what=str(part.path), where=str(first.path))
        if (part.column, part.length) != (first.column, first.length):
            raise InputError(
                f"{part.path} has vectors of length {part.length} in the column {clean(part.column)}, but "
                f"{first.path} of length {first.length} in {clean(first.column)}: move one of them to another folder"
            )
    features = Features(path, first.metadata, parts)
    _note(features)
    return features


@checked
def check_comparable(these: Mapping[str, str], those: Mapping[str, str], *, what: str, where: str) -> None:
    """Raise `InputError` with the differences if vectors of the two are not comparable.

    Values that one of them does not state cannot be checked.
    """
    both = [key for key in COMPARABLE if key in these and key in those]
    if differences := [f"{key} is {these[key]} against {those[key]}" for key in both if these[key] != those[key]]:
        raise InputError(clean(f"vectors of {what} and of {where} cannot be compared: {', '.join(differences)}"))


def _by_part(ids: Ids) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield the number of each part that holds some of the rows, with their places in `ids`."""
    numbers = ids // PART_IDS
    for number in np.unique(numbers).tolist():
        yield number, np.flatnonzero(numbers == number)


def _note(features: Features) -> None:
    """Log which metadata are missing, so that comparability cannot be checked."""
    missing = [key for key in COMPARABLE if any(key not in part.metadata for part in features.parts)]
    notes = []
    if missing:
        notes.append(f"it does not state {', '.join(missing)}, so it cannot be checked that its vectors are comparable")
    if any(part.names is None for part in features.parts):
        notes.append("it has no column of paths, so rows are named by their number")
    if notes:
        log.info("%s: %s", features.path, "; ".join(notes))
