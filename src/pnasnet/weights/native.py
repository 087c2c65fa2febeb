"""Reads safetensors files, this project's own and those of other programs, and writes our own.

Our files hold float32 arrays in TensorFlow's layout by TF-Slim's names, with kernels as float16 on request. Their
metadata describe the network and hold a checksum of each array, which the format itself lacks.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptWeightsError, InputError
from ..support.arguments import checked
from ..support.crc import masked_crc32c
from ..support.files import check_target, replacing
from .arrays import Array, ArrayShape, LazyArrays
from .files import MappedFile, reading

FORMAT = "pnasnet-weights-1"
"""The value of the metadata's `format` in this project's own files."""

_CHECKSUMS = "crc32c"  # in the metadata: a JSON object from each name to its array's masked CRC-32C
_ALIGNMENT = 8  # of the first tensor, in the format's specification
_DTYPES = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_safetensors(path: Path) -> tuple[LazyArrays, dict[str, str]]:
    """Open the file at `path`; return its floating-point tensors, in their own layout, and its metadata.

    Raises:
        WeightsNotFoundError: there is no such file.
        CorruptWeightsError: the header is damaged, claims more bytes than the file has, or has an unsupported dtype.
            Also raised on reading a tensor of one of our own files if its checksum is wrong.
    """
    from safetensors import SafetensorError, safe_open

    file = MappedFile(path)
    try:
        with reading(path):
            opened: Any = safe_open(path, framework="numpy")  # which checks the header against the file
        metadata: dict[str, str] = dict(opened.metadata() or {})
        dtypes = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    except SafetensorError as error:
        raise CorruptWeightsError(f"{path} is damaged or not a safetensors file: {error}") from error
    for name, dtype in dtypes.items():
        if "F" in dtype and dtype not in _DTYPES:
            raise CorruptWeightsError(f"{path} holds {name} as {dtype}: convert it to float32 (F32)")
    spans = _read_spans(file)
    shapes = {name: spans[name].shape for name, dtype in dtypes.items() if dtype in _DTYPES}
    checksums = _read_checksums(metadata, path)

    def read(name: str) -> Array:
        array = _to_float32(file, spans[name])
        if checksums is not None and checksums.get(name) != masked_crc32c(array):
            raise CorruptWeightsError(f"{path} is damaged: the checksum of {name} is wrong; download it again")
        return array

    return LazyArrays(shapes, read), metadata


@dataclass(frozen=True)
class _TensorSpan:
    """The position of a tensor in a file."""

    dtype: str
    shape: ArrayShape
    start: int
    end: int


def _read_spans(file: MappedFile) -> dict[str, _TensorSpan]:
    """Return the positions of the tensors in a file whose header has been checked."""
    start = 8 + int.from_bytes(file.bytes[:8].tobytes(), "little")
    header = json.loads(file.bytes[8:start].tobytes())
    return {
        name: _TensorSpan(entry["dtype"], tuple(entry["shape"]), *(start + offset for offset in entry["data_offsets"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _to_float32(file: MappedFile, span: _TensorSpan) -> Array:
    array: NDArray[Any] = np.empty(span.shape, _DTYPES[span.dtype])
    array.reshape(-1).view(np.uint8)[:] = file.bytes[span.start : span.end]
    file.release(span.start, span.end)
    if span.dtype == "BF16":  # the upper half of a float32; NumPy has no such type
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


def _read_checksums(metadata: dict[str, str], path: Path) -> dict[str, Any] | None:
    """Remove the checksums from the metadata and return them; None for files of other programs."""
    text = metadata.pop(_CHECKSUMS, None)
    if metadata.get("format") != FORMAT:
        return None
    try:
        checksums = json.loads(text or "")
    except (ValueError, RecursionError):
        checksums = None
    if not isinstance(checksums, dict):
        raise CorruptWeightsError(f"{path} is damaged: its checksums cannot be read; download it again")
    return checksums


@checked
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
    """Write weights as this project's own safetensors file, whole or not at all. Equal arguments write equal bytes.

    Args:
        path: the file; an existing file is replaced once the new one is complete.
        arrays: arrays in TensorFlow's layout by TF-Slim's variable names; written as float32, unless `float16`.
        model: name of the network.
        spec: the network's description, as JSON.
        origin: source of the weights, as text.
        classes: width of the classifier, or None without one.
        label_offset: the logit of the first class that is not the background: 1 for ImageNet's 1001, else 0.
        extra: further metadata; its names must not be those above.
        float16: whether to round kernels to float16, for half the size. Scales, offsets and moving statistics stay
            float32, because small variances do not fit into float16. All arrays are read as float32.

    Raises:
        OutputError: the file could not be written, for example because the disk is full.
        InputError: `path` does not end in .safetensors, `extra` uses a reserved name, or a kernel is too large for
            float16.
    """
    check_target(Path(path), ".safetensors")
    metadata = {
        "format": FORMAT,
        "model": model,
        "spec": spec,
        "origin": origin,
        "classes": "" if classes is None else str(classes),
        "label_offset": str(label_offset),
    }
    reserved = {*metadata, _CHECKSUMS} & (extra or {}).keys()
    if reserved:
        raise InputError(f"extra metadata must not be named {', '.join(sorted(reserved))}: choose other names")
    tensors = {name: np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays)}
    if float16:
        tensors = {name: _to_float16(name, array) if array.ndim > 1 else array for name, array in tensors.items()}
    checksums = {name: masked_crc32c(array.astype(np.float32)) for name, array in tensors.items()}
    metadata[_CHECKSUMS] = json.dumps(checksums)
    write_tensors(Path(path), tensors, {**metadata, **(extra or {})})


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write contiguous float32 or float16 arrays as a safetensors file, whole or not at all. Raises `OutputError`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_header(tensors, metadata))
        for array in tensors.values():
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).data)


def _header(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors header. The library's own writer orders the metadata at random."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        dtype = "F16" if array.dtype == np.float16 else "F32"
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _to_float16(name: str, array: Array) -> Array:
    """Round to float16. Raises `InputError` if a value is beyond its range."""
    if array.size and np.abs(array).max() > np.finfo(np.float16).max:
        raise InputError(f"{name} has values beyond the range of float16: write float32")
    return array.astype(np.float16)
