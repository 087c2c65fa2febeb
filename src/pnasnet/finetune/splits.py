"""Which pictures train, validate and test: decided once by their names, then kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import InputError, OutputError
from ..support.files import replacing
from ..support.paths import utf8

PARTS = ("training", "validation", "test")
_MADE = ("pnasnet.validation", "pnasnet.test", "pnasnet.seed")
"""What the file says of how it was made."""


@dataclass(frozen=True)
class Fractions:
    """What share of each class's pictures validates and tests; at least one picture of each class trains."""

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        """Check the shares."""
        if not (self.validation > 0 and self.test >= 0 and self.validation + self.test < 1):  # nor where one is NaN
            raise InputError(
                f"validation {self.validation} and test {self.test} must be shares that leave some for training, "
                "and validation more than 0"
            )


@dataclass(frozen=True)
class Split:
    """Which picture is in which part, and how that was decided.

    Attributes:
        parts: the part of each picture, [N] of `PARTS`.
        fractions: the shares by which it was split.
        seed: what else decided it.
    """

    parts: NDArray[np.str_]
    fractions: Fractions
    seed: int

    def note(self, fractions: Fractions, seed: int) -> str | None:
        """Return a sentence for a user who asked for other shares or another seed; None where it was these."""
        if (self.fractions, self.seed) == (fractions, seed):
            return None
        made = f"validation {self.fractions.validation}, test {self.fractions.test} and seed {self.seed}"
        return f"splits.parquet was made with {made}, and is kept: remove it to split anew"


def split(data: LabelledImages, fractions: Fractions, seed: int = 0) -> NDArray[np.str_]:
    """Return the part of each picture, [N] of `PARTS`, the same for equal names, whatever their order.

    Within a class, pictures are ordered by a hash of their names; the first test, the next validate, the rest train. A
    class of two pictures has none to test.

    Raises:
        InputError: a class has no picture, or one, which cannot both train and validate.
    """
    parts = np.full(len(data), "training", dtype=f"<U{max(map(len, PARTS))}")
    for label, name in enumerate(data.classes):
        members = np.flatnonzero(data.labels == label).tolist()
        if len(members) < 2:
            raise InputError(
                f"class {name!r} has {len(members) or 'no'} picture{'s' * (len(members) != 1)}, and needs one to train "
                "and one to validate: add pictures, or leave the class out"
            )
        ordered = sorted(members, key=lambda index: _hash(seed, data.names[index]))
        test, validation = _sizes(len(members), fractions)
        parts[ordered[:test]] = "test"
        parts[ordered[test : test + validation]] = "validation"
    return parts


def _sizes(count: int, fractions: Fractions) -> tuple[int, int]:
    """Return how many of a class's pictures test and validate."""
    validation = min(max(round(count * fractions.validation), 1), count - 1)
    wanted = max(round(count * fractions.test), 1) if fractions.test else 0
    return min(wanted, count - validation - 1), validation


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()


def kept_split(path: Path, data: LabelledImages, fractions: Fractions, seed: int = 0) -> Split:
    """Return the part of each picture as `path` says; pictures that are new are added to it.

    They are split by the shares and the seed of those that are there; `fractions` and `seed` are for a new file.

    Raises:
        InputError: what `split` raises, or the file is none of these. OutputError: it cannot be written.
    """
    known, stated = _read(path) if path.exists() else ({}, None)
    fractions, seed = stated or (fractions, seed)
    names = [utf8(str(name)) for name in data.names]  # Arrow's strings are
    new = [index for index, name in enumerate(names) if name not in known]
    fresh = split(data, fractions, seed) if new else np.empty(0, "<U10")
    parts = np.array([known.get(name, fresh[i] if len(fresh) else "") for i, name in enumerate(names)])
    if new:
        classes = [utf8(name) for name in data.classes]
        table = pa.table({"name": names, "class": [classes[label] for label in data.labels], "part": parts.tolist()})
        made = fractions.validation, fractions.test, seed
        _write(path, table.replace_schema_metadata(dict(zip(_MADE, map(str, made), strict=True))))
    return Split(parts, fractions, seed)


def _read(path: Path) -> tuple[Mapping[str, str], tuple[Fractions, int] | None]:
    """Return the part of each name, and by what they were decided, if the file says so."""
    try:
        table = pq.read_table(path, columns=["name", "part"])
        parts = dict(zip(table["name"].to_pylist(), table["part"].to_pylist(), strict=True))
        said = table.schema.metadata or {}
        validation, test, seed = (said.get(key.encode()) for key in _MADE)
        made = (Fractions(float(validation), float(test)), int(seed)) if validation and test and seed else None
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise InputError(f"{path} is no list of splits ({error}): remove it to split anew") from error
    if not set(parts.values()) <= set(PARTS):
        raise InputError(f"{path} has parts other than {', '.join(PARTS)}: remove it to split anew")
    return parts, made


def _write(path: Path, table: pa.Table) -> None:
    try:
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
