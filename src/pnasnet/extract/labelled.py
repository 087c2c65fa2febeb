"""Labelled pictures through a network: the pipeline over a data set, whose pictures need not be files."""

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

from ..datasets import LabelledImages
from ..errors import ImageError
from ..images import Loaded, get_preset, load
from .embed import DEFAULTS, ExtractOptions
from .pipeline import Batch, run_pipeline

if TYPE_CHECKING:
    from ..module import Module


def extract_labelled(
    module: "Module", data: LabelledImages, endpoint: str, options: ExtractOptions = DEFAULTS
) -> Generator[Batch, None, None]:
    """Yield an endpoint's vectors of all pictures, in order, a row for each; the rows' paths are the pictures' names.

    Raises `UnknownNameError` where there is no such preset; a picture that cannot be read only fails its own row.
    """
    preset = get_preset(options.preset or module.preset)

    def load_picture(index: int) -> Loaded:
        name = str(data.names[index])
        try:
            return load(data.read(index), module.image_size, preset, exif=options.exif)
        except ImageError as error:  # bytes do not know their name
            raise ImageError(str(error).replace("image bytes", name, 1)) from error
        except OSError as error:
            raise ImageError(f"{name}: cannot be read ({error.strerror or error}): check the disk") from error

    return run_pipeline(
        range(len(data)),
        load_picture,
        lambda images: module.run(images, (endpoint,))[endpoint],
        batch_size=options.batch_size,
        decoders=options.decoders or os.cpu_count() or 1,
        name=lambda index: str(data.names[index]),
    )
