"""Searches on labelled images: from a data set to the networks of the best cells and the report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..datasets import open_dataset
from ..reports.charts import check_packages
from ..support.arguments import checked
from ..support.progress import Progress, silent
from .child import ChildTrainer, describe_data, split_images
from .config import SearchConfig
from .journal import Child
from .outputs import write_outputs
from .run import SearchResult, Workers, search
from .trials import Training, read_config

UNFINISHED = "unfinished"
"""The folder, beside the journal, of children in training."""


def _open(
    config: SearchConfig, source: str, split: str | None, folder: Path, workers: Workers, accelerator: str
) -> tuple[ChildTrainer, dict[str, Any]]:
    """Return a trainer of children on labelled images, and the identity of these images.

    Raises as `open_dataset`, and `InputError` if there are too few images.
    """
    images = open_dataset(source, split=split)
    split_images(images, config.child)  # fails now, not in other processes
    # Other processes may run in another folder. A pattern is made absolute, too.
    source = source if source.startswith("hf:") else str(Path(source).absolute())
    # On a cluster no folder is shared, and an interrupted child is trained from its first epoch.
    unfinished = None if workers.address else str((folder / UNFINISHED).absolute())
    trainer = ChildTrainer(config.child, source, split, len(images.classes), unfinished, accelerator)
    return trainer, describe_data(images)


@checked
def search_images(
    config: SearchConfig,
    source: str,
    folder: Path,
    *,
    split: str | None = None,
    workers: Workers | None = None,
    accelerator: str = "auto",
    reuse: Path | None = None,
    retry_failed: bool = False,
    check: Callable[[], None] = lambda: None,
    progress: Progress = silent,
) -> tuple[SearchResult, list[tuple[Path, Child]]]:
    """Search on labelled images, or resume; then write the networks of the best cells and the report.

    `source` and `split` are as in `open_dataset`, `accelerator` as in `Machine`; for the rest, the errors, and the
    first value returned see `run.search`. The second value has the files of the best cells, best first. Raises
    `MissingExtraError` before anything is trained if the report could not be drawn.
    """
    check_packages("search")
    workers = workers or Workers()
    trainer, data = _open(config, source, split, folder, workers, accelerator)
    searched = search(
        config, trainer, data, folder, workers,
        reuse=reuse, retry_failed=retry_failed, check=check, progress=progress,
    )  # fmt: skip
    return searched, write_outputs(folder)


@checked
def training_on(
    folder: Path, source: str, split: str | None, workers: Workers, accelerator: str, check: Callable[[], None]
) -> Training:
    """Return the training of missing cells on labelled images, for `trials.evaluate_predictors`."""
    return Training(*_open(read_config(folder), source, split, folder, workers, accelerator), workers, check)
