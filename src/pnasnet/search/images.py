"""Searches on labelled images: from a data set to networks of the best cells, and a report."""

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
"""Name of the folder, beside the journal, of children in training."""


def _open(
    config: SearchConfig, source: str, split: str | None, folder: Path, workers: Workers, accelerator: str
) -> tuple[ChildTrainer, dict[str, Any]]:
    """Return a trainer of children on labelled images, and the identity of these images.

    Raises as `open_dataset`, and `InputError` if there are too few images.
    """
    images = open_dataset(source, split=split)
    split_images(images, config.child)  # fails now, not in other processes
    # Workers may run in another folder. Patterns are made absolute, too.
    source = source if source.startswith("hf:") else str(Path(source).absolute())
    # On a cluster, no folder is shared: an interrupted child is trained from its first epoch again.
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
    """Search on labelled images, or resume a search; then write networks of the best cells, and the report.

    `source` and `split` are as in `open_dataset`, `accelerator` is as in `Machine`. The other arguments, the errors,
    and the first value returned are those of `run.search`. The second value lists the network files of the best cells,
    best first. Raises `MissingExtraError`, before training, if the report cannot be drawn.
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
    """Return the argument of `trials.evaluate_predictors` that trains missing cells on labelled images."""
    return Training(*_open(read_config(folder), source, split, folder, workers, accelerator), workers, check)
