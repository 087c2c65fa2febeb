"""Which pictures train, validate and test: decided once by their names, then kept."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import replacing
from ..datasets import LabelledImages
from ..errors import InputError, OutputError

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Fractions:
    """What share of each class's pictures validates and tests; at least one picture of each class trains."""

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        """Check the shares."""
        if min(self.validation, self.test) < 0 or self.validation == 0 or self.validation + self.test >= 1:
            raise InputError(
                f"validation {self.validation} and test {self.test} must be shares that leave some for training, "
                "and validation more than 0"
            )


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


def kept_split(path: Path, data: LabelledImages, fractions: Fractions, seed: int = 0) -> NDArray[np.str_]:
    """Return the part of each picture as `path` says; pictures that are new are split anew and added to it.

    Raises:
        InputError: what `split` raises, or the file is none of these. OutputError: it cannot be written.
    """
    known = _read(path) if path.exists() else {}
    new = [index for index, name in enumerate(data.names) if name not in known]
    fresh = split(data, fractions, seed) if new else np.empty(0, "<U10")
    parts = np.array([known.get(name, fresh[i] if len(fresh) else "") for i, name in enumerate(data.names)])
    if new:
        _write(path, data.names, parts, [data.classes[label] for label in data.labels])
    return parts


def _read(path: Path) -> Mapping[str, str]:
    try:
        table = pq.read_table(path, columns=["name", "part"])
        parts = dict(zip(table["name"].to_pylist(), table["part"].to_pylist(), strict=True))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"{path} is no list of splits ({error}): remove it to split anew") from error
    if not set(parts.values()) <= set(PARTS):
        raise InputError(f"{path} has parts other than {', '.join(PARTS)}: remove it to split anew")
    return parts


def _write(path: Path, names: Sequence[str], parts: NDArray[np.str_], classes: Sequence[str]) -> None:
    table = pa.table({"name": list(names), "class": list(classes), "part": parts.tolist()})
    try:
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
