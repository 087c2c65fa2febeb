"""Pictures in Hugging Face datasets, by name or as saved to disk, a thousand rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from ...datasets.columns import find_pictures
from ...datasets.huggingface import load_splits
from ...errors import PnasnetError
from .parquet import read_cell
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
    def size(self) -> int:
        """How many rows."""
        return self.rows

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the rows from number `start` on, called `hf:NAME/split#17`."""
        try:
            table = _splits(self.dataset)[self.split].select_columns([self.column]).with_format("arrow")
        except PnasnetError as error:
            raise UnreachableError(str(error)) from error  # it was there when it was listed
        for row in range(self.first + start, self.first + self.rows):
            name = self.name_at(row - self.first)
            yield Picture(name, partial(_read, table, row, name))


def dataset_rows(dataset: str) -> Iterator[Rows]:
    """Yield the rows of all splits: of `hf:NAME`, `hf:NAME:CONFIG`, or of a folder that `save_to_disk` wrote.

    Raises `InputError` where there is no such dataset, or no pictures in it; `MissingExtraError` without the library.
    """
    for split, rows in _splits(dataset).items():
        column = find_pictures(rows.features.arrow_schema, f"{dataset}/{split}")
        for first in range(0, len(rows), _ROWS):
            yield Rows(dataset, split, column, first, min(_ROWS, len(rows) - first))


@lru_cache(maxsize=4)
def _splits(dataset: str) -> dict[str, Any]:
    return load_splits(dataset)


def _read(table: Any, row: int, name: str) -> Any:
    return read_cell(table[row].column(0)[0], "", name)
