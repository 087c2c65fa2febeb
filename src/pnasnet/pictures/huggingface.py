"""Pictures in Hugging Face datasets, by name or as saved to disk, a thousand rows at a time."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from ..datasets.columns import find_pictures, refuse_relative
from ..datasets.huggingface import load_splits
from ..errors import InputError, PnasnetError
from .parquet import read_cell, row_number
from .storage import UnreachableError
from .unit import Picture, Unit

_ROWS = 1024


@dataclass(frozen=True)
class Rows(Unit):
    """Rows of a split."""

    kind = "huggingface"
    dataset: str
    split: str
    column: str
    first: int
    rows: int

    @property
    def name(self) -> str:
        """The split and its first row."""
        return self.name_at(0)

    def name_at(self, number: int) -> str:
        """The split and its row."""
        return f"{self.dataset}/{self.split}#{self.first + number}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The split."""
        return (f"{self.dataset}/{self.split}",)

    @property
    def size(self) -> int:
        """How many rows."""
        return self.rows

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the rows from number `start` on, called `hf:NAME/split#17`."""
        return self._at(range(start, self.rows))

    def named(self, names: Collection[str]) -> Iterator[Picture]:
        """Yield the rows of these names, without a look at others."""
        wanted = sorted({row - self.first for name in names if (row := row_number(name)) is not None})
        return self._at([number for number in wanted if 0 <= number < self.rows])

    def _at(self, numbers: Sequence[int]) -> Iterator[Picture]:
        try:
            table = _splits(self.dataset)[self.split].select_columns([self.column]).with_format("arrow")
        except PnasnetError as error:
            raise UnreachableError(str(error)) from error  # it was there when it was listed
        for number in numbers:
            name = self.name_at(number)
            yield Picture(name, partial(_read, table, self.first + number, name))


def dataset_rows(dataset: str) -> Iterator[Rows]:
    """Yield the rows of all splits: of `hf:NAME`, `hf:NAME:CONFIG`, or of a folder that `save_to_disk` wrote.

    Raises `InputError` where there is no such dataset, or no pictures in it; `MissingExtraError` without the library.
    """
    for split in _splits(dataset):
        whole = _whole(dataset, split)
        for first in range(0, whole.rows, _ROWS):
            yield replace(whole, first=first, rows=min(_ROWS, whole.rows - first))


def rows_named(split: str, names: Collection[str]) -> Iterator[Picture]:
    """Yield the rows of a split, called `hf:NAME/split`, that are called so. Errors as for `dataset_rows`."""
    dataset, _, name = split.rpartition("/")
    if name not in _splits(dataset):
        raise InputError(f"{dataset!r} has no split {name!r} any more")
    return _whole(dataset, name).named(names)


def _whole(dataset: str, split: str) -> Rows:
    """Return all rows of a split."""
    rows = _splits(dataset)[split]
    return Rows(dataset, split, find_pictures(rows.features.arrow_schema, f"{dataset}/{split}"), 0, len(rows))


@lru_cache(maxsize=4)
def _splits(dataset: str) -> dict[str, Any]:
    return load_splits(dataset)


def _read(table: Any, row: int, name: str) -> Any:
    return refuse_relative(read_cell(table[row].column(0)[0], "", name), name)
