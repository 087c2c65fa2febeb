"""Reads weights of Keras with pyfive: `.h5` of Keras 1 and 2, `.weights.h5` and `.keras` of Keras 3.

The layers are those of `keras.applications`' NASNet, or of this package's own Keras models. Only arrays that are stored
contiguously and uncompressed are read: HDF5 can also refer to other files, and expand a small file to any size. pyfive
is written in Python; the HDF5 library behind h5py crashes on some damaged files.
"""

import io
import warnings
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptWeightsError, MissingExtraError
from ..support.text import clean
from .arrays import Array, ArrayShape, LazyArrays
from .files import MappedFile
from .keras_names import LEAVES, is_known, scopes

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

_MEMBER = "model.weights.h5"
"""The weights in a `.keras` file."""
_CONTIGUOUS = 1
"""HDF5's number of the contiguous layout."""
_MAX_RANK = 4
_ORDERS = {
    (4,): ("kernel",),
    (4, 4): ("depthwise_kernel", "pointwise_kernel"),
    (1, 1, 1, 1): ("gamma", "beta", "moving_mean", "moving_variance"),
    (2, 1): ("kernel", "bias"),
}
"""Names of a layer's variables by their ranks: Keras 3 stores only their numbers."""


def is_keras_archive(path: Path) -> bool:
    """Return whether a zip file is a `.keras` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _MEMBER in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read_keras(path: Path) -> LazyArrays:
    """Return the weights at `path` under TF-Slim's names, without those of the optimizer.

    A layer whose name neither `keras.applications`' NASNet nor this package uses keeps it, so that the check against
    the network reports it.

    Raises:
        MissingExtraError: pyfive is not installed.
        CorruptWeightsError: the file is damaged, or has arrays that Keras does not write.
    """
    try:
        import pyfive
    except ImportError:
        raise MissingExtraError.of("pyfive", "h5", f"reading {path.name}") from None
    data = MappedFile(path).bytes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about attributes that are not read
            if data[:8].tobytes() == SIGNATURE:
                found = _variables(pyfive.File(path), len(data))
            else:
                content = _unpack(path, len(data))
                found = _variables(pyfive.File(io.BytesIO(content)), len(content))
    except Exception as error:  # on arbitrary bytes pyfive may raise anything
        cause = clean(str(error)) or type(error).__name__
        raise CorruptWeightsError(f"{path} cannot be read as weights of Keras: {cause}; save it again") from error
    depthwise = {layer: value.shape for (layer, leaf), value in found.items() if leaf == "depthwise_kernel"}
    named = scopes(depthwise, {layer for layer, _ in found})
    values = {f"{named[layer]}/{LEAVES.get(leaf, leaf)}": value for (layer, leaf), value in found.items()}
    shapes: dict[str, ArrayShape] = {name: value.shape for name, value in values.items()}
    return LazyArrays(shapes, lambda name: _read(values[name], name, path))


def _unpack(path: Path, size: int) -> bytes:
    """Return the weights in a `.keras` file, which Keras stores uncompressed; others could expand to any size."""
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(_MEMBER).file_size > size:
            raise ValueError(f"{_MEMBER} claims more bytes than the file has")
        return archive.read(_MEMBER)


def _variables(file: Any, size: int) -> dict[tuple[str, str], Any]:
    """Return the datasets of float variables by layer and by Keras's name; links are not followed."""
    found: dict[tuple[str, str], Any] = {}

    def visit(place: str, item: Any) -> None:
        if not isinstance(getattr(item, "dtype", None), np.dtype) or item.dtype.kind != "f":
            return  # groups, random seeds
        if place.startswith(("optimizer", "_optimizer")):
            return
        is_plain = item.id.layout_class == _CONTIGUOUS and item.ndim <= _MAX_RANK
        if not is_plain or item.id.data_offset + prod(item.shape) * item.dtype.itemsize > size:
            raise ValueError(f"{place} is not stored contiguously and uncompressed in the file")
        key = _key(place, item)
        if key in found:
            raise ValueError(f"it has two variables {'/'.join(key)}")
        found[key] = item

    file.visititems(visit)
    if not found:
        raise ValueError("it has no variables")
    return found


def _key(place: str, item: Any) -> tuple[str, str]:
    """Return the names of a dataset's layer and variable."""
    *groups, leaf = place.split("/")
    if leaf.isdecimal():  # Keras 3: the group's attribute is the layer's name
        group = item.parent
        order = _ORDERS.get(tuple(group[str(index)].ndim for index in range(len(group))), ())
        if "name" not in group.attrs:
            raise ValueError("it lacks the names of its layers, which Keras 3.10 stores: load it there")
        name = group.attrs["name"]
        layer = name.decode() if isinstance(name, bytes) else str(name)
        return layer, order[int(leaf)] if int(leaf) < len(order) else leaf
    # Below the group of a layer or of a model within the model are scopes, which TensorFlow 1 may have numbered.
    layer = next((scope for scope in groups if is_known(scope)), groups[-1] if groups else "")
    return layer, leaf.partition(":")[0]


def _read(dataset: Any, name: str, path: Path) -> Array:
    try:
        return np.ascontiguousarray(dataset[()], np.float32)
    except Exception as error:
        raise CorruptWeightsError(f"{path} is damaged: {name} cannot be read ({error})") from error
