"""From images to batches of their vectors."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..images import Source, Target, load_each
from ..images.orientation import orientation
from ..pictures import Picture
from ..support.arguments import checked
from ..support.system import processors
from .columns import Column, ColumnVectors, Floats, columns_for
from .contents import Contents, digest_of
from .feed import read_ahead, read_picture, with_name
from .options import DEFAULTS, ExtractOptions
from .pipeline import Batch, Prepared, Stages, run_pipeline

if TYPE_CHECKING:
    from ..datasets import LabelledImages
    from ..engines import Engine
    from ..module.module import Module


@checked
def extract(
    module: "Module", pictures: Iterable[Picture], options: ExtractOptions = DEFAULTS, *, endpoint: str = "global_pool"
) -> Generator[Batch, None, None]:
    """Yield the vectors of one endpoint, a row for each image, in order. Unreachable images fail, too.

    Raises:
        UnknownNameError: there is no such endpoint or preset.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import extract, find_named
        >>> (batch,) = extract(Module("pnasnet_tiny"), find_named(["photos/coffee.jpg", "photos/rocket.jpg"]))
        >>> [row.path for row in batch.rows], batch.vectors.shape
        (['photos/coffee.jpg', 'photos/rocket.jpg'], (2, 960))
    """
    columns = columns_for([module], [endpoint], options)
    with closing(read_ahead(pictures)) as ahead:
        yield from extract_columns(ahead, columns, options)


@checked
def extract_labelled(
    module: "Module", data: "LabelledImages", endpoint: str, options: ExtractOptions = DEFAULTS
) -> Generator[Batch, None, None]:
    """Yield the vectors of one endpoint, a row for each image of a data set, in order; `path` is its name there.

    An image that cannot be read becomes a row with an error. Raises `UnknownNameError` for an unknown endpoint or
    preset.
    """
    pictures = (Picture(str(name), partial(data.read, index)) for index, name in enumerate(data.names))
    return extract_columns(pictures, columns_for([module], [endpoint], options), options)


@checked
def extract_columns(
    pictures: Iterable[Picture],
    columns: Sequence[Column],
    options: ExtractOptions,
    stages: Stages | None = None,
    watch: Callable[[Picture, Prepared, Source], None] = lambda picture, prepared, source: None,
    known: Contents | None = None,
    *,
    outages_fail: bool = True,
) -> Generator[Batch, None, None]:
    """Yield the vectors of all `columns`, a row for each image, in order; each image is decoded once.

    Args:
        pictures: the images; consumed as needed.
        columns: the columns of vectors.
        options: batch size and decoders.
        stages: accumulates the seconds of each stage.
        watch: called with each decoded image and its source, by several threads.
        known: vectors of images computed before, which are not computed again.
        outages_fail: whether an unreachable image counts as damaged (`error` instead of `unreachable`).
    """
    stages = stages or Stages()
    networks = _Networks(columns, stages)

    def load(picture: Picture) -> Prepared:
        prepared, source = _load(
            picture, networks.targets, options.exif, digest=known is not None, outages_fail=outages_fail
        )
        watch(picture, prepared, source)
        return prepared

    return run_pipeline(
        pictures,
        load,
        networks.infer,
        batch_size=options.batch_size,
        decoders=options.decoders or processors(),
        stages=stages,
        known=known,
        concurrency=networks.concurrency,
    )


class _Networks:
    """Runs the networks of several columns, each once per batch. Thread-safe."""

    def __init__(self, columns: Sequence[Column], stages: Stages) -> None:
        self._columns, self._stages = columns, stages
        self._networks = list({id(column.module): column for column in columns}.values())
        self.targets = [Target(column.module.image_size, column.preset) for column in self._networks]
        self._lock = Lock()
        self._splits: dict[Engine, int] = {}

    def concurrency(self) -> int:
        """Return the number of concurrent batches that keep the engines busy."""
        return max(network.module.engine_for(network.computed).concurrency for network in self._networks)

    def infer(self, images: tuple[Floats, ...]) -> ColumnVectors:
        """Return the vectors of all columns for a batch of inputs [B, h, w, 3] of each network."""
        found: dict[str, NDArray[np.floating]] = {}
        for network, batch in zip(self._networks, images, strict=True):
            engine = network.module.engine_for(network.computed)
            self._count_splits(engine)
            outputs = network.module.run(batch, network.computed)
            self._count_splits(engine)
            own = [column for column in self._columns if column.module is network.module]
            found |= {column.name: column.finish(outputs[column.endpoint]) for column in own}
        return found

    def _count_splits(self, engine: "Engine") -> None:
        """Count how often the engine halved batches for lack of memory since it was first seen."""
        with self._lock:
            now = engine.memory_splits
            self._stages.memory_splits += now - self._splits.get(engine, now)
            self._splits[engine] = now


def _load(
    picture: Picture, targets: Sequence[Target], exif: bool | None, *, digest: bool, outages_fail: bool
) -> tuple[Prepared, Source]:
    try:
        source = read_picture(picture)
        loaded = load_each(source, targets, exif=exif)
    except ImageError as error:
        kind = ImageError if outages_fail else type(error)
        raise kind(with_name(error, picture)) from error
    images = tuple(one.image for one in loaded)
    if not isinstance(source, bytes | bytearray | memoryview):
        return Prepared(images, loaded[0].width, loaded[0].height), source
    upright = all(target.preset.exif if exif is None else exif for target in targets)
    unturned = not upright and orientation(source) != 1
    digested = digest_of(source) if digest else None
    return Prepared(images, loaded[0].width, loaded[0].height, digested, unturned), source
