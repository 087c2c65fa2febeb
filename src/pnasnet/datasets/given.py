"""Combines images with labels that the caller passes, instead of class folders."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..module.pictures import as_list, as_pictures
from ..pictures.files import find_images
from ..support.text import some_of
from .labelled import LabelledImages


def label_images(images: Any, labels: Any) -> LabelledImages:
    """Return images with the given labels.

    Args:
        images: a folder, searched recursively; or paths, bytes, PIL images or uint8 arrays [height, width, 3], in a
            list, an array or a Series.
        labels: the class of each image, all names or all whole numbers: in the order of `images`, or a mapping from
            paths, relative to the folder if there is one. Additional paths in it are ignored.

    Raises:
        InputError: an image lacks a label, a path occurs twice, or names and numbers are mixed.
    """
    folder = Path(images) if isinstance(images, str | os.PathLike) and Path(images).is_dir() else None
    sources = [_without_arrays(each) for each in (find_images([folder]) if folder else as_pictures(images))]
    names = [
        os.fsdecode(each) if isinstance(each, str | os.PathLike) else f"image {index}"
        for index, each in enumerate(sources)
    ]
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)!r} occurs twice among the images: remove the copies")
    if isinstance(labels, Mapping):
        given = _labels_of(names, labels, folder)
    else:
        given = as_list(labels, "labels", "names or whole numbers in a list")
    if len(given) != len(names):
        raise InputError(f"{len(names):,} images have {len(given):,} labels: pass one for each image")
    plain: list[Any] = [each.item() if isinstance(each, np.generic) else each for each in given]
    kinds = {type(each) for each in plain}
    if plain and kinds not in ({str}, {int}):
        raise InputError("labels must be all names or all whole numbers, one for each image")
    classes = sorted(set(plain))
    return LabelledImages(
        names, np.searchsorted(classes, plain).astype(np.int64), tuple(map(str, classes)), sources.__getitem__
    )


def _without_arrays(image: Any) -> Any:
    """Return pixels as a PIL image, which `images.decode` accepts; other images unchanged."""
    return Image.fromarray(image) if isinstance(image, np.ndarray) else image


def _labels_of(names: list[str], labels: Mapping[Any, Any], folder: Path | None) -> list[Any]:
    known = {os.fsdecode(path): label for path, label in labels.items()}
    keys = [Path(name).relative_to(folder).as_posix() if folder else name for name in names]
    if missing := [key for key in keys if key not in known]:
        raise InputError(
            f"{len(missing):,} of {len(keys):,} images have no label ({some_of(missing)}): add labels, or remove the "
            "images"
        )
    return [known[key] for key in keys]
