"""Splits images by their contents into parts for training, validation and test, and stores the split.

An image's part does not depend on its path, so a data set that is moved, renamed or reordered keeps its split, and
copies of an image are never in two parts.
"""

import hashlib
import os.path
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import InputError
from ..support.files import reading, replacing
from ..support.text import counted, utf8
from ..support.typed import convert_fields

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class SplitSettings:
    """How images are split. Raises `InputError` for values out of range.

    Attributes:
        validation, test: fractions of each class's images. At least one image of each class is for training.
        seed: determines the order of the images.
    """

    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        convert_fields(self, seed=0, test=0)
        if not 0 < self.validation < 1:
            raise InputError(f"validation must be a fraction between 0 and 1, not {self.validation}")
        if not self.validation + self.test < 1:
            raise InputError(
                f"validation {self.validation:g} and test {self.test:g} leave no images for training: they must be "
                "less than 1 together"
            )


@dataclass(frozen=True)
class Split:
    """The part of each image.

    Attributes:
        parts: the part of each image, [N] of `PARTS`.
        settings: how the images were split.
        notes: sentences for the user.
    """

    parts: NDArray[np.str_]
    settings: SplitSettings
    notes: tuple[str, ...] = ()


def split(data: LabelledImages, contents: Sequence[bytes | None], settings: SplitSettings) -> NDArray[np.str_]:
    """Return the part of each image, [N] of `PARTS`. It does not depend on the order of the images.

    The contents of a class are sorted by a hash. The first are for testing, the next for validation, and the others for
    training. A class with two distinct images has no test image. Equal images in several classes count towards the
    first of these.

    Args:
        data: the images.
        contents: the digest of each image's bytes; None for an unreadable image, which is identified by its name.
        settings: fractions and seed.

    Raises:
        InputError: a class has fewer than two distinct images, one for training and one for validation.
    """
    keys = _keys(data, contents)
    class_of: dict[bytes, int] = {}
    for key, label in zip(keys, data.labels.tolist(), strict=True):
        class_of[key] = min(label, class_of.get(key, label))
    members: list[list[bytes]] = [[] for _ in data.classes]
    for key, label in class_of.items():
        members[label].append(key)
    part_of: dict[bytes, str] = {}
    prefix = f"{settings.seed}:".encode()
    for name, own in zip(data.classes, members, strict=True):
        if len(own) < 2:
            has = counted(len(own), "distinct image") if own else "no images"
            raise InputError(f"class {name!r} has {has}, but needs one to train and one to validate: add images")
        validation = min(max(round(len(own) * settings.validation), 1), len(own) - 1)
        wanted = max(round(len(own) * settings.test), 1) if settings.test else 0
        test = min(wanted, len(own) - validation - 1)
        for place, key in enumerate(sorted(own, key=lambda key: hashlib.sha256(prefix + key).digest())):
            part_of[key] = "test" if place < test else "validation" if place < test + validation else "training"
    return np.array([part_of[key] for key in keys])


def _keys(data: LabelledImages, contents: Sequence[bytes | None]) -> list[bytes]:
    names = names_within(data)
    return [content or b"name:" + name.encode() for name, content in zip(names, contents, strict=True)]


def names_within(data: LabelledImages) -> list[str]:
    """Return the names of the images relative to their common folder."""
    names = [utf8(str(name)) for name in data.names]
    start = os.path.commonprefix(names).rfind("/") + 1  # noqa: RUF071 - cut at the last slash; names are no real paths
    return [name[start:] for name in names]


def kept_split(path: Path, data: LabelledImages, contents: Sequence[bytes | None], settings: SplitSettings) -> Split:
    """Return the split stored at `path`. New images are added to it by its own settings.

    `settings` are used if the file does not exist. The file is not written if no image is new.

    Raises:
        InputError: what `split` raises; the file is damaged, of an earlier version, or of another data set.
        OutputError: it cannot be written.
    """
    known = _read(path) if path.exists() else None
    keys = _keys(data, contents)
    notes = _copies(data, keys)
    part_of: dict[bytes, str] = {}
    made = settings
    if known:
        table, made = known
        part_of = dict(zip(table["content"].to_pylist(), table["part"].to_pylist(), strict=True))
        notes += _changes(path, part_of, keys, settings, made)
    new = [index for index, key in enumerate(keys) if key not in part_of]
    if new:
        fresh = split(data, contents, made)
        names, rows = names_within(data), []
        for index in new:
            if keys[index] not in part_of:
                part_of[keys[index]] = str(fresh[index])
                label = utf8(data.classes[data.labels[index]])
                rows.append((names[index], label, part_of[keys[index]], keys[index]))
        _write(path, known and known[0], rows, made)
    return Split(np.array([part_of[key] for key in keys]), made, notes)


def _copies(data: LabelledImages, keys: Sequence[bytes]) -> tuple[str, ...]:
    """Return sentences about images with equal bytes, and about equal images in several classes."""
    first: dict[bytes, int] = {}
    copies, conflicts = 0, list[str]()
    for index, key in enumerate(keys):
        other = first.setdefault(key, index)
        copies += other != index
        if data.labels[other] != data.labels[index]:
            conflicts.append(f"{data.names[other]} and {data.names[index]}")
    notes = [f"{counted(copies, 'image')} are copies of others; copies are always in the same part"] if copies else []
    if conflicts:
        notes.append(
            f"{counted(len(conflicts), 'pair')} of equal images, such as {conflicts[0]}, have different classes: "
            "check their labels"
        )
    return tuple(notes)


def _changes(
    path: Path, part_of: dict[bytes, str], keys: Sequence[bytes], wanted: SplitSettings, made: SplitSettings
) -> tuple[str, ...]:
    """Return sentences about differences from the stored split. Raises `InputError` if it is of another data set."""
    here = set(keys)
    found = len(here & part_of.keys())
    new = len(here) - found
    if new > found and 2 * found < len(part_of):
        raise InputError(
            f"{path} holds the split of other images: {found:,} of its {len(part_of):,} images are in the data, "
            f"and {new:,} images of the data are not in it. Choose another folder, or remove the file to split again"
        )
    notes = []
    if new:
        notes.append(f"{counted(new, 'image')} of {len(here):,} are new and were added to {path.name}")
    if wanted != made:
        notes.append(
            f"{path.name} was created with validation {made.validation}, test {made.test} and seed {made.seed}, and is "
            "used unchanged. Remove it to split again"
        )
    return tuple(notes)


def _read(path: Path) -> tuple[pa.Table, SplitSettings]:
    """Return the rows of the file, and its settings."""
    remove = "remove it to split again, or choose another folder"
    with reading(path):
        content = path.read_bytes()
    try:
        table = pq.read_table(pa.BufferReader(content))
        stated = table.schema.metadata or {}
        validation, test, seed = (stated[f"pnasnet.{name}".encode()] for name in ("validation", "test", "seed"))
        settings = SplitSettings(float(validation), float(test), int(seed))
        parts = set(table["part"].to_pylist())
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged or not a split ({' '.join(str(error).split())}): {remove}") from error
    if "content" not in table.schema.names:
        raise InputError(f"{path} is of an earlier version, which stored the split by path: {remove}")
    if not parts <= set(PARTS):
        raise InputError(f"{path} has parts other than {', '.join(PARTS)}: {remove}")
    return table, settings


def _write(
    path: Path, known: pa.Table | None, rows: Sequence[tuple[str, str, str, bytes]], made: SplitSettings
) -> None:
    """Write the known rows and the new ones."""
    stated = {f"pnasnet.{name}": str(value) for name, value in asdict(made).items()}
    kinds = {"name": pa.string(), "class": pa.string(), "part": pa.string(), "content": pa.binary()}
    schema = pa.schema(kinds.items(), stated)
    columns = zip(*rows, strict=True)
    table = pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)], schema)
    with replacing(path) as temporary:
        pq.write_table(pa.concat_tables([known.select(list(kinds)).cast(schema), table]) if known else table, temporary)
