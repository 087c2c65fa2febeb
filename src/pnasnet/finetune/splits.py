"""Which images train, validate and test: decided by their contents, and kept.

An image's part does not depend on its path, so a data set that is moved, renamed or reordered keeps its split, and
copies of an image are never in two parts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import InputError
from ..support.files import reading, replacing
from ..support.paths import utf8
from ..support.text import counted

PARTS = ("training", "validation", "test")
_MADE = ("pnasnet.validation", "pnasnet.test", "pnasnet.seed")
"""The keys of the metadata: how the split was made."""


@dataclass(frozen=True)
class Fractions:
    """The shares of each class's images that validate and test; at least one image of each class trains."""

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        if not (self.validation > 0 and self.test >= 0 and self.validation + self.test < 1):  # NaN fails, too
            raise InputError(
                f"validation {self.validation} and test {self.test} must be shares that leave some for training, "
                "and validation more than 0"
            )


@dataclass(frozen=True)
class Split:
    """The part of each image, and how it was decided.

    Attributes:
        parts: the part of each image, [N] of `PARTS`.
        fractions: the shares of the split.
        seed: its seed.
        notes: sentences about it for the user.
    """

    parts: NDArray[np.str_]
    fractions: Fractions
    seed: int
    notes: tuple[str, ...] = ()


def split(
    data: LabelledImages, contents: Sequence[bytes | None], fractions: Fractions, seed: int = 0
) -> NDArray[np.str_]:
    """Return the part of each image, [N] of `PARTS`; equal contents have equal parts, in any order.

    Within a class, contents are ordered by a hash; the first ones test, the next validate, the others train. A class
    of two different images has none to test. Equal images in several classes count for the first of these classes.

    Args:
        data: the images.
        contents: the digest of each image's bytes; None for one that cannot be read, which goes by its name.
        fractions: the shares of each class's different images.
        seed: decides the order.

    Raises:
        InputError: a class has fewer than two different images: one to train and one to validate.
    """
    keys = _keys(data, contents)
    class_of: dict[bytes, int] = {}
    for key, label in zip(keys, data.labels.tolist(), strict=True):
        class_of[key] = min(label, class_of.get(key, label))
    members: list[list[bytes]] = [[] for _ in data.classes]
    for key, label in class_of.items():
        members[label].append(key)
    part_of: dict[bytes, str] = {}
    for name, own in zip(data.classes, members, strict=True):
        if len(own) < 2:
            has = counted(len(own), "different image") if own else "no images"
            raise InputError(f"class {name!r} has {has}, but needs one to train and one to validate: add images")
        test, validation = _sizes(len(own), fractions)
        for place, key in enumerate(sorted(own, key=lambda key: _hash(seed, key))):
            part_of[key] = "test" if place < test else "validation" if place < test + validation else "training"
    return np.array([part_of[key] for key in keys])


def _sizes(count: int, fractions: Fractions) -> tuple[int, int]:
    """Return how many of a class's images test and validate."""
    validation = min(max(round(count * fractions.validation), 1), count - 1)
    wanted = max(round(count * fractions.test), 1) if fractions.test else 0
    return min(wanted, count - validation - 1), validation


def _hash(seed: int, key: bytes) -> bytes:
    return hashlib.sha256(f"{seed}:".encode() + key).digest()


def _keys(data: LabelledImages, contents: Sequence[bytes | None]) -> list[bytes]:
    names = names_within(data)
    return [content or b"name:" + name.encode() for name, content in zip(names, contents, strict=True)]


def names_within(data: LabelledImages) -> list[str]:
    """Return the names of the images below the folder that all of them share."""
    names = [utf8(str(name)) for name in data.names]
    first, last = min(names, default=""), max(names, default="")
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    start = first.rfind("/", 0, shared) + 1
    return [name[start:] for name in names]


def kept_split(
    path: Path,
    data: LabelledImages,
    contents: Sequence[bytes | None],
    fractions: Fractions,
    seed: int = 0,
) -> Split:
    """Return the split that `path` holds, with new images added to it by its own shares and seed.

    `fractions` and `seed` are for a new file. The file is not written if nothing is new.

    Raises:
        InputError: what `split` raises; the file is damaged, of an earlier version, or of another data set.
        OutputError: it cannot be written.
    """
    known = _read(path) if path.exists() else None
    keys = _keys(data, contents)
    notes = _copies(data, keys)
    part_of: dict[bytes, str] = {}
    made = fractions, seed
    if known:
        table, made = known
        part_of = dict(zip(table["content"].to_pylist(), table["part"].to_pylist(), strict=True))
        notes += _changes(path, part_of, keys, (fractions, seed), made)
    new = [index for index, key in enumerate(keys) if key not in part_of]
    if new:
        fresh = split(data, contents, *made)
        names, rows = names_within(data), []
        for index in new:
            if keys[index] not in part_of:
                part_of[keys[index]] = str(fresh[index])
                label = utf8(data.classes[data.labels[index]])
                rows.append((names[index], label, part_of[keys[index]], keys[index]))
        _write(path, known and known[0], rows, made)
    return Split(np.array([part_of[key] for key in keys]), *made, notes)


def _copies(data: LabelledImages, keys: Sequence[bytes]) -> tuple[str, ...]:
    """Return sentences about images with equal bytes, and about those of them in several classes."""
    first: dict[bytes, int] = {}
    copies, conflicts = 0, list[str]()
    for index, key in enumerate(keys):
        other = first.setdefault(key, index)
        copies += other != index
        if data.labels[other] != data.labels[index]:
            conflicts.append(f"{data.names[other]} and {data.names[index]}")
    notes = [f"{counted(copies, 'image')} equal others byte for byte; copies are in one part"] if copies else []
    if conflicts:
        notes.append(
            f"{counted(len(conflicts), 'pair')} of equal images, such as {conflicts[0]}, have different classes: "
            "check their labels"
        )
    return tuple(notes)


_Made = tuple[Fractions, int]


def _changes(
    path: Path, part_of: dict[bytes, str], keys: Sequence[bytes], wanted: _Made, made: _Made
) -> tuple[str, ...]:
    """Return sentences about what differs from the kept split; raise `InputError` if that is of another data set."""
    here = set(keys)
    found = len(here & part_of.keys())
    new = len(here) - found
    if new > found and 2 * found < len(part_of):
        raise InputError(
            f"{path} holds the split of other images: {found:,} of its {len(part_of):,} images are in the data, "
            f"and {new:,} in the data are unknown. Choose another folder, or remove the file to split anew"
        )
    notes = []
    if new:
        notes.append(f"{counted(new, 'image')} of {len(here):,} are new to {path.name} and were added to the split")
    if wanted != made:
        (fractions, seed), name = made, path.name
        notes.append(
            f"{name} was made with validation {fractions.validation}, test {fractions.test} and seed {seed}, and is "
            "kept. Remove it to split anew"
        )
    return tuple(notes)


def _read(path: Path) -> tuple[pa.Table, _Made]:
    """Return the rows of the file, and how they were decided."""
    remove = "remove it to split anew, or choose another folder"
    try:
        with reading(path):
            table = pq.read_table(path)
        stated = table.schema.metadata or {}
        validation, test, seed = (float(stated[key.encode()]) for key in _MADE)
        parts = set(table["part"].to_pylist())
    except (pa.ArrowException, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged, or not a split ({' '.join(str(error).split())}): {remove}") from error
    if "content" not in table.schema.names:
        raise InputError(f"{path} is of an earlier version, which kept the split by path: {remove}")
    if not parts <= set(PARTS):
        raise InputError(f"{path} has parts other than {', '.join(PARTS)}: {remove}")
    return table, (Fractions(validation, test), int(seed))


def _write(path: Path, known: pa.Table | None, rows: Sequence[tuple[str, str, str, bytes]], made: _Made) -> None:
    """Write the known rows and the new ones."""
    (fractions, seed) = made
    stated = dict(zip(_MADE, map(str, (fractions.validation, fractions.test, seed)), strict=True))
    kinds = {"name": pa.string(), "class": pa.string(), "part": pa.string(), "content": pa.binary()}
    schema = pa.schema(kinds.items(), stated)
    columns = zip(*rows, strict=True)
    table = pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)], schema)
    with replacing(path) as temporary:
        pq.write_table(pa.concat_tables([known.select(list(kinds)).cast(schema), table]) if known else table, temporary)
