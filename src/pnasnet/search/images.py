"""A search over labelled images: from a data set to the networks of the best cells and the report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..datasets import LabelledImages, open_dataset
from ..reports.charts import check_packages
from ..support.progress import Progress, silent
from .child import ChildTrainer, describe_data, split_pictures
from .config import SearchConfig
from .journal import Child
from .outputs import write_outputs
from .run import Searched, Workers, search
from .trials import Training, read_config

UNFINISHED = "unfinished"
"""The folder, beside the journal, of children in training."""


@dataclass(frozen=True)
class LabelledData:
    """A data set by the name it was opened with, so that other processes can open it too."""

    images: LabelledImages
    source: str
    split: str | None

    @classmethod
    def open(cls, source: str, split: str | None) -> "LabelledData":
        """Open a data set as `open_dataset` does. Raises as it does."""
        images = open_dataset(source, split=split)
        # Other processes may run in another folder. A pattern is made absolute, too.
        return cls(images, source if source.startswith("hf:") else str(Path(source).absolute()), split)

    def trainer(self, config: SearchConfig, unfinished: Path | None, accelerator: str) -> ChildTrainer:
        """Return what trains children on these images. Raises `InputError` if there are too few."""
        split_pictures(self.images, config.child)  # fails now, not in other processes
        folder = None if unfinished is None else str(unfinished.absolute())
        return ChildTrainer(config.child, self.source, self.split, len(self.images.classes), folder, accelerator)


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
) -> tuple[Searched, list[tuple[Path, Child]]]:
    """Search on labelled images, or resume; then write the networks of the best cells and the report.

    `source` and `split` are as in `open_dataset`, `accelerator` as in `Machine`; for the rest, the errors, and the
    first value returned see `run.search`. The second value has the files of the best cells, best first. Raises
    `MissingExtraError` before anything is trained if the report could not be drawn.
    """
    check_packages()
    workers = workers or Workers()
    data = LabelledData.open(source, split)
    # On a cluster no folder is shared, and an interrupted child is trained from its first epoch.
    trainer = data.trainer(config, None if workers.address else folder / UNFINISHED, accelerator)
    searched = search(
        config, trainer, describe_data(data.images), folder, workers,
        reuse=reuse, retry_failed=retry_failed, check=check, progress=progress,
    )  # fmt: skip
    return searched, write_outputs(folder)


def training_on(
    folder: Path, source: str, split: str | None, workers: Workers, accelerator: str, check: Callable[[], None]
) -> Training:
    """Return what `trials.evaluate_predictors` needs to train cells of the search in `folder` on labelled images."""
    data = LabelledData.open(source, split)
    trainer = data.trainer(read_config(folder), None if workers.address else folder / UNFINISHED, accelerator)
    return Training(trainer, describe_data(data.images), workers, check)
