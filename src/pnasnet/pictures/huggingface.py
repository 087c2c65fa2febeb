"""Images in Hugging Face datasets, by name or from a folder written by `save_to_disk`; memory-mapped."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtraError, PnasnetError, UnreachableError
from ..images import Source
from ..support.http import reason
from .access import CLOSED, Access
from .columns import find_pictures, picture_in
from .parquet import row_number
from .passed_over import PassedOver
from .unit import Picture, Unit

PREFIX = "hf:"

_ROWS = 1024


@dataclass(frozen=True)
class SplitRows(Unit):
    """Rows of a split; `roots` and `hosts` are those of `Access`."""

    kind = "huggingface"
    dataset: str
    split: str
    column: str
    first: int
    rows: int
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The split and its first row."""
        return self.name_at(0)

    def name_at(self, number: int) -> str:
        """Return the split and its row."""
        return f"{self.dataset}/{self.split}#{self.first + number}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The split."""
        return (f"{self.dataset}/{self.split}",)

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.rows

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Yield the rows from number `start` on, named `hf:NAME/split#17`."""
        return self._at(range(start, self.rows))

    def named(self, names: Collection[str]) -> Iterator[Picture]:
        """Yield the rows with these names; no others are read."""
        wanted = sorted({row - self.first for name in names if (row := row_number(name)) is not None})
        return self._at([number for number in wanted if 0 <= number < self.rows])

    def _at(self, numbers: Sequence[int]) -> Iterator[Picture]:
        try:
            split = load_splits(self.dataset)[self.split]
        except PnasnetError as error:
            raise UnreachableError(str(error)) from error  # it existed when it was listed
        read = RowReader(split, self.column, self.inputs[0], self.dataset, Access(self.roots, self.hosts))
        for number in numbers:
            yield Picture(self.name_at(number), partial(read, self.first + number))


class RowReader:
    """Reads the image of a row. It can be pickled: another process maps the same files.

    Args:
        split: the library's dataset.
        column: name of the column of images.
        where: name of the split in errors.
        dataset: the dataset as the user named it.
        access: the files and hosts that paths and URLs in rows may refer to.
    """

    def __init__(self, split: Any, column: str, where: str, dataset: str, access: Access) -> None:
        self._pictures = split.select_columns([column]).with_format("arrow")  # as stored, without decoding
        self._where, self._access, self._folders = where, access, _folders(dataset)

    def __call__(self, row: int) -> Source:
        """Return the image of a row. Raises like `columns.picture_in`."""
        return picture_in(self._pictures[row].column(0)[0], "", self._access, f"{self._where}#{row}", self._folders)

    @property
    def column(self) -> Any:
        """The images of all rows, as an Arrow column."""
        return self._pictures[:].column(0)


def _folders(dataset: str) -> tuple[str, ...]:
    """Return the folders of allowed paths in a dataset: its own, or the library's caches."""
    if not dataset.startswith(PREFIX):
        return (dataset,)
    from datasets import config

    return tuple(map(str, (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, config.HF_CACHE_HOME)))


def dataset_rows(dataset: str, column: str | None = None, access: Access = CLOSED) -> Iterator[SplitRows]:
    """Yield the rows of all splits of `hf:NAME`, `hf:NAME:CONFIG`, or a folder written by `save_to_disk`.

    Raises `InputError` if there is no such dataset or no column of images, `MissingExtraError` without the library.
    """
    for split in load_splits(dataset):
        whole = _whole(dataset, split, column, access)
        for first in range(0, whole.rows, _ROWS):
            yield replace(whole, first=first, rows=min(_ROWS, whole.rows - first))


def rows_named(
    split: str, names: Collection[str], access: Access = CLOSED, column: str | None = None
) -> Iterator[Picture]:
    """Yield the rows with these names of a split, named `hf:NAME/split`. Raises like `dataset_rows`."""
    dataset, _, name = split.rpartition("/")
    if name not in load_splits(dataset):
        raise InputError(f"{dataset!r} no longer has a split {name!r}")
    return _whole(dataset, name, column, access).named(names)


def _whole(dataset: str, split: str, column: str | None, access: Access) -> SplitRows:
    """Return all rows of a split."""
    rows = load_splits(dataset)[split]
    found = find_pictures(rows.features.arrow_schema, f"{dataset}/{split}", column)
    return SplitRows(dataset, split, found, 0, len(rows), access.roots, access.hosts)


def is_saved(folder: str) -> bool:
    """Return whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote this folder."""
    path = Path(folder)
    one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return one or (path / "dataset_dict.json").is_file()


@lru_cache(maxsize=4)
def load_splits(dataset: str) -> dict[str, Any]:
    """Return the datasets by split; a dataset without splits counts as the split that it names, or as `all`."""
    found = load(dataset)
    return dict(found) if isinstance(found, dict) else {str(found.split or "all"): found}


def load(dataset: str) -> Any:
    """Return a dataset of Hugging Face's library, or a dictionary of datasets by split.

    Args:
        dataset: `hf:NAME` or `hf:NAME:CONFIG`, downloaded once to Hugging Face's cache (`HF_HOME`, `HF_TOKEN` and
            `HF_HUB_OFFLINE` apply), or a folder written by `save_to_disk`.

    Raises:
        MissingExtraError: the datasets library is not installed.
        InputError: there is no such dataset or configuration, or it is damaged.
    """
    try:
        import datasets as library
    except ImportError as error:
        raise MissingExtraError.of("datasets", "huggingface", "a Hugging Face dataset") from error
    call: Callable[[], Any]
    if dataset.startswith(PREFIX):
        name, _, config = dataset.removeprefix(PREFIX).partition(":")
        if not name:
            raise InputError(f"{dataset!r} has no name: use hf:NAME, such as hf:uoft-cs/cifar10")
        call = partial(library.load_dataset, name, config or None)
    else:
        call = partial(library.load_from_disk, dataset)
    try:
        return call()
    except Exception as error:  # many classes, some with several lines
        raise InputError(f"{dataset!r} cannot be opened as a Hugging Face dataset: {reason(error)}") from error
