"""The part of the Open Inference Protocol (KServe v2, Triton) that HTTP and gRPC share: tensors in, tensors out."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import choose_one_of
from ..module.signatures import check_images
from ..support.text import counted
from .errors import ServeError
from .models import Image, Served

SERVER = "pnasnet"
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "pnasnet"
ENCODED, IMAGES = "image_bytes", "images"
"""The inputs, one per request: encoded images, BYTES [n], or pixels in [0, 1], FP32 [n, height, width, 3]."""

_MAX_DIMENSIONS = 4


@dataclass(frozen=True)
class InputTensor:
    """An input of a request. Its data are little-endian float32, or a list of byte strings."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview | list[bytes]


def metadata(served: Served) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the inputs and the outputs, each with name, datatype and shape; -1 stands for the number of images."""
    inputs = [
        {"name": ENCODED, "datatype": "BYTES", "shape": [-1]},
        {"name": IMAGES, "datatype": "FP32", "shape": [-1, *served.module.image_size, 3]},
    ]
    outputs = [{"name": name, "datatype": "FP32", "shape": [-1, *shape]} for name, shape in served.outputs.items()]
    return inputs, outputs


def images_of(served: Served, tensors: Sequence[InputTensor]) -> list[Image]:
    """Return the images of a request. Raises `ServeError` or `InputError` unless there is exactly one valid input."""
    if len(tensors) != 1:
        raise ServeError(f"the request has {len(tensors)} inputs: send either {ENCODED} (BYTES) or {IMAGES} (FP32)")
    (tensor,) = tensors
    wanted = {ENCODED: "BYTES", IMAGES: "FP32"}.get(tensor.name)
    if wanted is None:
        raise ServeError(f"no input has this name: send either {ENCODED} (BYTES) or {IMAGES} (FP32)")
    if tensor.datatype != wanted:
        raise ServeError(f"the input {tensor.name} must have the datatype {wanted}")
    if len(tensor.shape) > _MAX_DIMENSIONS:
        raise ServeError(f"the shape of {tensor.name} has more than {_MAX_DIMENSIONS} numbers")
    if any(length < 0 for length in tensor.shape):
        raise ServeError(f"the shape of {tensor.name} has a negative number")
    count = prod(tensor.shape)
    if isinstance(tensor.data, list):
        if tensor.shape not in ((len(tensor.data),), (len(tensor.data), 1)):
            has = counted(len(tensor.data), "string")
            raise ServeError(f"{tensor.name} has {has}, but its shape is {list(tensor.shape)}")
        return list(tensor.data)
    if len(tensor.data) != 4 * count:
        raise ServeError(f"{tensor.name} has {len(tensor.data):,} bytes, but its shape needs {4 * count:,}")
    images = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape).astype(np.float32, copy=False)
    check_images(images, served.module.image_size)
    return list(images)


def endpoints_of(served: Served, names: Sequence[str]) -> list[str]:
    """Return the outputs that a request names, each once; all if it names none. Raises `ServeError`."""
    for name in names:
        if name not in served.outputs:
            raise ServeError(f"no output has this name: {choose_one_of(served.outputs)}")
    return list(dict.fromkeys(names)) or list(served.outputs)


def split_strings(raw: bytes | memoryview) -> list[bytes]:
    """Return the strings of a binary BYTES tensor: each follows its length (uint32). Raises `ServeError`."""
    strings, start = list[bytes](), 0
    while start < len(raw):
        if start + 4 > len(raw):
            raise ServeError("the last string of a BYTES tensor has no length")
        (length,) = struct.unpack_from("<I", raw, start)
        start += 4
        if start + length > len(raw):
            raise ServeError("a string of a BYTES tensor is longer than the tensor")
        strings.append(bytes(raw[start : start + length]))
        start += length
    return strings
