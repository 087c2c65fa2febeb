"""Pictures in, a Parquet file of their vectors out."""

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..errors import InputError, UnknownNameError
from ..images import get_preset, load
from .pipeline import Batch, run_pipeline
from .sink import ParquetSink

if TYPE_CHECKING:
    from ..module import Module

_EXAMPLES = 5


@dataclass(frozen=True)
class ExtractOptions:
    """What may be chosen about an extraction beside the model."""

    preset: str | None = None
    """The preprocessing; None takes the model's own."""
    exif: bool | None = None
    """Whether to apply the EXIF orientation; None does as the preset says."""
    endpoint: str = "global_pool"
    """Which of the network's vectors to take."""
    batch_size: int = 8
    """How many images the engine gets at once; more make no network faster on CPUs, and take memory."""
    decoders: int | None = None
    """How many threads decode; None takes as many as there are processors."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.batch_size < 1 or (self.decoders is not None and self.decoders < 1):
            raise InputError(f"batch size {self.batch_size} and decoders {self.decoders} must be at least 1")


DEFAULTS = ExtractOptions()


@dataclass
class Report:
    """What came of an extraction."""

    path: Path
    rows: int = 0
    failed: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    """What the first few failures were, a line each."""

    def add(self, batch: Batch) -> None:
        """Count a batch's rows."""
        failures = [row.error for row in batch.rows if row.error is not None]
        self.rows += len(batch.rows)
        self.failed += len(failures)
        self.errors += failures[: _EXAMPLES - len(self.errors)]


def extract(
    module: "Module",
    paths: Sequence[str],
    options: ExtractOptions = DEFAULTS,
) -> Generator[Batch, None, None]:
    """Yield the vectors of the pictures at `paths`, in their order, a row for each.

    Raises:
        UnknownNameError: the endpoint or the preset is not there. InputError: the endpoint is a map, not a vector.
    """
    preset = get_preset(options.preset or module.preset)
    _length(module, options.endpoint)

    def infer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return module.run(images, (options.endpoint,))[options.endpoint]

    return run_pipeline(
        paths,
        partial(load, size=module.image_size, preset=preset, exif=options.exif),
        infer,
        batch_size=options.batch_size,
        decoders=options.decoders or os.cpu_count() or 1,
    )


def extract_to_parquet(
    module: "Module",
    paths: Sequence[str],
    output: str | os.PathLike[str],
    options: ExtractOptions = DEFAULTS,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
) -> Report:
    """Write the vectors of the pictures at `paths` to a Parquet file, as `ParquetSink` describes.

    Args:
        module: the network.
        paths: the pictures, as from `find_images`.
        output: the file.
        options: what may be chosen.
        overwrite: whether to replace the file where it exists.
        progress: called with the number of new rows after each batch, in the caller's thread. An exception that it
            raises ends the run; the rows done are kept.

    Raises:
        OutputError: the file cannot be written. What `extract` raises.
    """
    started = time.perf_counter()
    report = Report(Path(output))
    length = _length(module, options.endpoint)
    with (
        closing(extract(module, paths, options)) as batches,
        ParquetSink(output, features=length, metadata=metadata(module, options), overwrite=overwrite) as sink,
    ):
        for batch in batches:
            sink.write(batch)
            report.add(batch)
            progress(len(batch.rows))
    report.seconds = time.perf_counter() - started
    return report


def _length(module: "Module", endpoint: str) -> int:
    """Return how long the endpoint's vectors are."""
    shapes = module.model.plan.endpoints()
    if endpoint not in shapes:
        raise UnknownNameError.of("endpoint", endpoint, list(shapes))
    if len(shapes[endpoint]) != 1:
        vectors = ", ".join(name for name, shape in shapes.items() if len(shape) == 1)
        raise InputError(f"endpoint {endpoint} is a map of {list(shapes[endpoint])}; vectors are: {vectors}")
    return shapes[endpoint][0]


def metadata(module: "Module", options: ExtractOptions) -> dict[str, str]:
    """Return what makes vectors comparable: rows of two files may be mixed where all of this is equal."""
    preset = get_preset(options.preset or module.preset)
    height, width = module.image_size
    return {
        "pnasnet.version": __version__,
        "pnasnet.model": module.model.name,
        "pnasnet.weights": module.model.origin,
        "pnasnet.weights_sha256": module.model.checksum,
        "pnasnet.endpoint": options.endpoint,
        "pnasnet.preset": preset.name,
        "pnasnet.image_size": f"{height}x{width}",
        "pnasnet.exif": str(preset.exif if options.exif is None else options.exif).lower(),
        "pnasnet.precision": module.precision,
        "pnasnet.engine": module.engine_for((options.endpoint,)).description,
    }
