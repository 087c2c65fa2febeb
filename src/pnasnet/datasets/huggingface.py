"""Hugging Face datasets, by name or as saved to disk, through their own library; memory-mapped, not loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtraError
from ..images import Source
from .columns import Columns, picture_in, plain_labels, read_labels, refuse_missing, refuse_relative
from .labelled import LabelledImages
from .splits import choose, refuse

PREFIX = "hf:"


def open_hub(source: str, split: str | None) -> LabelledImages:
    """Return the dataset of the Hugging Face Hub that `source` names: `hf:NAME` or `hf:NAME:CONFIG`.

    It is downloaded once to Hugging Face's cache; `HF_HUB_OFFLINE`, `HF_HOME`, `HF_TOKEN` hold. Each picture is named
    `hf:NAME/split#17`. Classes and columns are as in a Parquet file.

    Raises:
        MissingExtraError: the datasets library is not installed.
        InputError: there is no such dataset, configuration or split, several splits and none is chosen, or it holds no
            labelled pictures.
    """
    return _labelled(_load(source), source, split)


def is_saved(folder: str) -> bool:
    """Whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote this folder."""
    path = Path(folder)
    one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return one or (path / "dataset_dict.json").is_file()


def open_saved(folder: str, split: str | None) -> LabelledImages:
    """Return the dataset that `save_to_disk` wrote to `folder`, as `open_hub` does."""
    return _labelled(_load(folder), folder, split)


def load_splits(source: str) -> dict[str, Any]:
    """Return the library's own datasets by the names of their splits; `source` and errors as for the functions above.

    What has no splits is one that is called as its `split` says, or `all`.
    """
    found = _load(source)
    return dict(found) if isinstance(found, dict) else {str(found.split or "all"): found}


def _load(source: str) -> Any:
    library = _library()
    if not source.startswith(PREFIX):
        return _call(source, lambda: library.load_from_disk(source))
    name, _, config = source.removeprefix(PREFIX).partition(":")
    if not name:
        raise InputError(f"{source!r} names no dataset: write hf:NAME, such as hf:uoft-cs/cifar10")
    return _call(source, lambda: library.load_dataset(name, config or None))


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError.of("datasets", "huggingface", "a Hugging Face dataset") from error
    return datasets


def _call(where: str, call: Callable[[], Any]) -> Any:
    """Call into the library, whose errors are of many kinds, some of many lines."""
    try:
        return call()
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{where!r} cannot be opened as a Hugging Face dataset: {reason}") from error


def _labelled(found: Any, where: str, split: str | None) -> LabelledImages:
    if isinstance(found, dict):
        name, dataset = choose({name: (name, dataset) for name, dataset in found.items()}, split, where)
        where = f"{where}/{name}"
    else:
        dataset = found
        if split != str(dataset.split):
            refuse(split, where)
    columns = Columns.of(dataset.features.arrow_schema, where)
    if not len(dataset):
        raise InputError(f"{where!r} has no rows: open one that has some")
    names = [f"{where}#{row}" for row in range(len(dataset))]
    labels = dataset.select_columns([columns.label]).with_format("arrow")[:].column(0)
    numbers, classes = read_labels(plain_labels(labels, where), names, columns.classes)
    pictures = dataset.select_columns([columns.image]).with_format("arrow")  # as stored: nothing is decoded
    refuse_missing(pictures[:].column(0), names)
    return LabelledImages(names, numbers, classes, _Pictures(pictures, where))


class _Pictures:
    """Reads pictures out of a dataset; a class, so that worker processes can be given it, and map the same files."""

    def __init__(self, dataset: Any, where: str) -> None:
        self._dataset, self._where = dataset, where

    def __call__(self, index: int) -> Source:
        return refuse_relative(picture_in(self._dataset[index].column(0)[0]), f"{self._where}#{index}")
