"""Safetensors files: this project's own, which it also writes, and those of others.

Ours hold TF-Slim's names, TensorFlow's layout and float32, or kernels as float16. Their metadata say what they are and
hold a checksum of each array, which the format itself has not.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptWeightsError, InputError, OutputError
from ..support.files import replacing
from .arrays import Array, LazyArrays, Shape
from .crc import masked_crc32c
from .files import map_file, reading

FORMAT = "pnasnet-weights-1"
"""The value of the metadata's `format` in this project's own files."""

_CHECKSUMS = "crc32c"  # in the metadata: a JSON object from each name to its array's masked CRC-32C
_DTYPES = {"F16", "F32", "F64"}


def read_safetensors(path: Path) -> tuple[LazyArrays, dict[str, str]]:
    """Open the file at `path`; return its floating-point tensors, in their own layout, and its metadata.

    Raises:
        WeightsNotFoundError: there is no such file.
        CorruptWeightsError: its header is damaged, claims what the file does not hold, or names another dtype. Also
            raised when a tensor of one of our own files is read and its checksum does not hold.
    """
    from safetensors import SafetensorError, safe_open

    map_file(path)  # says in our words why a file cannot be read at all
    try:
        with reading(path):
            file: Any = safe_open(path, framework="numpy")
        metadata: dict[str, str] = dict(file.metadata() or {})
        shapes: dict[str, Shape] = {}
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            tensor = file.get_slice(name)
            if tensor.get_dtype() in _DTYPES:
                shapes[name] = tuple(tensor.get_shape())
            elif "F" in tensor.get_dtype():
                raise CorruptWeightsError(f"{path} holds {name} as {tensor.get_dtype()}: convert it to float32 (F32)")
    except SafetensorError as error:
        raise CorruptWeightsError(f"{path} is damaged or no safetensors file: {error}") from error

    checksums = _read_checksums(metadata, path)

    def read(name: str) -> Array:
        array = np.array(file.get_tensor(name), np.float32, order="C")
        if checksums is not None and checksums.get(name) != masked_crc32c(array):
            raise CorruptWeightsError(f"{path} is damaged: the checksum of {name} does not hold; get it again")
        return array

    return LazyArrays(shapes, read), metadata


def _read_checksums(metadata: dict[str, str], path: Path) -> dict[str, Any] | None:
    """Take the checksums out of the metadata; None in a file of others."""
    text = metadata.pop(_CHECKSUMS, None)
    if metadata.get("format") != FORMAT:
        return None
    try:
        checksums = json.loads(text or "")
    except (ValueError, RecursionError):
        checksums = None
    if not isinstance(checksums, dict):
        raise CorruptWeightsError(f"{path} is damaged: its checksums cannot be read; get it again")
    return checksums


def write_weights(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    *,
    model: str,
    spec: str,
    origin: str,
    classes: int | None,
    label_offset: int,
    extra: Mapping[str, str] | None = None,
    float16: bool = False,
) -> None:
    """Write weights as this project's own safetensors file: whole, or not at all.

    Args:
        path: where to; what is there is replaced once the new file is complete.
        arrays: TF-Slim's variable names to arrays in TensorFlow's layout; written as float32, unless `float16`.
        model: name of the network.
        spec: the network's description, as JSON.
        origin: where the weights come from, for a person.
        classes: width of the classifier; None without one.
        label_offset: the logit of the first class that is not the background: 1 for ImageNet's 1001, else 0.
        extra: more metadata, which must not use the names above.
        float16: whether to round kernels to float16, for half the size. Scales, offsets and moving statistics stay
            float32, since small variances have no place in it. Read back, all are float32.

    Raises:
        OutputError: the file could not be written, such as on a full disk.
        InputError: `extra` would overwrite what the other arguments say, or a kernel is too large for float16.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    metadata = {
        "format": FORMAT,
        "model": model,
        "spec": spec,
        "origin": origin,
        "classes": "" if classes is None else str(classes),
        "label_offset": str(label_offset),
    }
    taken = {*metadata, _CHECKSUMS} & (extra or {}).keys()
    if taken:
        raise InputError(f"extra metadata may not be called {', '.join(sorted(taken))}: choose other names")
    tensors = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    if float16:
        tensors = {name: _to_float16(name, array) if array.ndim > 1 else array for name, array in tensors.items()}
    checksums = {name: masked_crc32c(array.astype(np.float32)) for name, array in tensors.items()}
    metadata[_CHECKSUMS] = json.dumps(checksums)
    target = Path(path)
    try:
        with replacing(target) as temporary:
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            save_file(tensors, temporary, {**metadata, **(extra or {})})
            temporary.chmod(mode)  # safetensors' own would be for nobody else to read
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {target}: {error}") from error


def _to_float16(name: str, array: Array) -> Array:
    """Round to float16. Raises `InputError` where a value is beyond its range."""
    if array.size and np.abs(array).max() > np.finfo(np.float16).max:
        raise InputError(f"{name} has values beyond float16's range: write float32")
    return array.astype(np.float16)
