"""The images that `Module.embed` and `Module.classify` accept."""

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError, InputError
from ..images import Preset, Source, preprocess, transform
from ..images.source import LIMITS
from ..support import http
from ..support.urls import host_names, is_http, redact

ImageInput = Source | NDArray[np.uint8]
"""One image: a path, the bytes of a file, a PIL image, or decoded pixels, uint8 [height, width, 3]."""
ImageInputs = ImageInput | Iterable[ImageInput]
"""One image or several: also a NumPy array of paths or of pixels [number, height, width, 3], a pandas Series, or an
Arrow array."""

_ONE = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
_KINDS = "paths, bytes, PIL images or uint8 arrays [height, width, 3]"
_ALL = "a path, bytes, a PIL image or a uint8 array [height, width, 3]"


def as_pictures(given: Any) -> list[ImageInput]:
    """Return the images as a list. Raises `InputError` for anything else, such as numbers that are not pixels."""
    if hasattr(given, "read"):
        raise InputError("images are an open file: pass its bytes, which its read() returns")
    is_numeric = isinstance(given, np.ndarray) and given.dtype.kind in "biufc" and given.size
    if is_numeric and (given.dtype != np.uint8 or given.ndim not in (3, 4) or given.shape[-1] != 3):
        raise InputError(f"pixels must be uint8 [H, W, 3] or [N, H, W, 3], not {given.dtype} {list(given.shape)}")
    return as_list(given)


def as_list(given: Any, what: str = "images", kinds: str = _KINDS) -> list[Any]:
    """Return images or labels, `what`, as a list. Raises `InputError`, with their `kinds`, for anything else."""
    if isinstance(given, _ONE):
        return [given]
    if isinstance(given, np.ndarray) and given.ndim:
        return [given] if given.dtype == np.uint8 and given.ndim == 3 else list(given)
    if isinstance(given, Mapping):
        raise InputError(f"{what} must be a list, not a mapping: pass its values")
    if hasattr(given, "columns"):  # of pandas, Polars or Arrow
        raise InputError(f"{what} are a table, {type(given).__name__}: pass the column of {what} alone")
    for convert in ("to_pylist", "to_list"):  # Arrow arrays; pandas and Polars Series
        if hasattr(given, convert):
            return list(getattr(given, convert)())
    try:
        return list(given)
    except TypeError:
        raise InputError(f"{what} must be {kinds}, not {type(given).__name__}") from None


def to_input(
    picture: ImageInput, size: tuple[int, int], preset: str | Preset, allow_hosts: Collection[str] = ()
) -> NDArray[np.float32]:
    """Return an image as network input, float32 [*size, 3] in [0, 1]. Raises `ImageError` or `InputError`."""
    if isinstance(picture, np.ndarray):
        return transform(picture, size, preset)
    if isinstance(picture, str) and is_http(picture):
        picture = _download(picture, allow_hosts)
    if not isinstance(picture, _ONE):
        raise InputError(f"an image must be {_ALL}, not {type(picture).__name__}")
    return preprocess(picture, size, preset)


def averaged(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an endpoint as vectors [batch, length]: maps pass through ReLU and are averaged over their positions.

    The network does the same before its classifier: `Cell_11` of PNASNet-5 (large) becomes `global_pool`.
    """
    return np.maximum(output, 0).mean((1, 2), dtype=np.float32) if output.ndim == 4 else output


def _download(url: str, allow_hosts: Collection[str]) -> bytes:
    if not allow_hosts:
        raise InputError(f"{redact(url)!r} is a URL: pass its host in allow_hosts, or download it and pass its bytes")
    allowed = host_names(allow_hosts)
    try:
        return http.retrying(lambda: http.read_all(http.get(url, allowed=allowed), LIMITS.bytes + 1))
    except http.RefusedError as error:
        raise ImageError(
            f"{redact(url)}: {http.reason(error)}: pass it in allow_hosts, or leave the image out"
        ) from error
    except Exception as error:  # errors of urllib3 and of the system have no common class
        raise ImageError(f"{redact(url)} cannot be read ({http.reason(error)}): check the address") from error
