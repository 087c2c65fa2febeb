"""From pictures to batches of their vectors."""

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, PnasnetError
from ..images import Source, Target, load_each, read_file
from ..images.orientation import orientation
from ..pictures import Picture
from ..support.system import processors
from .columns import Column, Floats, columns_for
from .contents import digest_of
from .feed import AHEAD, read_ahead, read_or_fail
from .options import DEFAULTS, ExtractOptions
from .pipeline import Batch, Known, Prepared, Stages, run_pipeline

if TYPE_CHECKING:
    from ..module.module import Module

T = TypeVar("T")


def extract(
    module: "Module", pictures: Iterable[Picture], options: ExtractOptions = DEFAULTS, *, endpoint: str = "global_pool"
) -> Generator[Batch, None, None]:
    """Yield the vectors of one endpoint, a row for each picture, in order; pictures that cannot be reached fail.

    Raises:
        UnknownNameError: there is no such endpoint or preset.
    """
    columns = columns_for([module], [endpoint], options)
    with closing(read_ahead(pictures, AHEAD)) as ahead:
        yield from extract_columns(ahead, read_or_fail, lambda picture: picture.name, columns, options)


def extract_columns(
    pictures: Iterable[T],
    read: Callable[[T], Source],
    name: Callable[[T], str],
    columns: Sequence[Column],
    options: ExtractOptions,
    stages: Stages | None = None,
    watch: Callable[[T, Prepared], None] = lambda picture, prepared: None,
    known: Known | None = None,
    place: Callable[[T], object] = lambda picture: None,
) -> Generator[Batch, None, None]:
    """Yield the vectors of all `columns`, a row for each picture, in order; each picture is decoded once.

    Args:
        pictures: any values that stand for pictures; consumed as needed.
        read: returns the bytes or the path of one of them; raises `ImageError` or OSError.
        name: returns the name for its row and its error.
        columns: the columns of vectors.
        options: batch size and decoders.
        stages: accumulates the seconds.
        watch: called with each decoded picture, by several threads.
        known: vectors of contents computed before, which are not computed again.
        place: returns what a batch keeps of a picture.
    """
    networks = {id(column.module): column for column in columns}  # one input for each
    targets = tuple(Target(column.module.image_size, column.preset) for column in networks.values())

    def load(picture: T) -> Prepared:
        prepared = _load(picture, read, name, targets, options.exif, digest=known is not None)
        watch(picture, prepared)
        return prepared

    return run_pipeline(
        pictures,
        load,
        partial(_infer, columns=columns, places={module: place for place, module in enumerate(networks)}),
        batch_size=options.batch_size,
        decoders=options.decoders or processors(),
        name=name,
        stages=stages,
        known=known,
        place=place,
    )


def _load(
    picture: T,
    read: Callable[[T], Source],
    name: Callable[[T], str],
    targets: Sequence[Target],
    exif: bool | None,
    *,
    digest: bool,
) -> Prepared:
    try:
        source = read(picture)
        if digest and isinstance(source, str | os.PathLike):
            source = read_file(source)
        loaded = load_each(source, targets, exif=exif)
    except ImageError as error:  # bytes do not know their name
        raise type(error)(str(error).replace("image bytes", name(picture), 1)) from error
    except PnasnetError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise ImageError(f"{name(picture)}: cannot be read ({reason}): check the disk") from error
    images = tuple(one.image for one in loaded)
    prepared = Prepared(images, loaded[0].width, loaded[0].height)
    if not isinstance(source, bytes | bytearray | memoryview):
        return prepared
    upright = all(target.preset.exif if exif is None else exif for target in targets)
    unturned = not upright and orientation(source) != 1
    return replace(prepared, digest=digest_of(source) if digest else None, unturned=unturned)


def _infer(
    images: tuple[Floats, ...], columns: Sequence[Column], places: Mapping[int, int]
) -> dict[str, NDArray[np.floating]]:
    found: dict[str, NDArray[np.floating]] = {}
    for module, place in places.items():
        own = [column for column in columns if id(column.module) == module]
        outputs = own[0].module.run(images[place], own[0].computed)
        found |= {column.name: column.finish(outputs[column.endpoint]) for column in own}
    return {column.name: found[column.name] for column in columns}
