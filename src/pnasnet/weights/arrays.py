"""The canonical form of weights: TF-Slim's variable names to float32 arrays in TensorFlow's layout, read lazily."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Array = NDArray[np.float32]
Shape = tuple[int, ...]


class LazyArrays(Mapping[str, Array]):
    """A mapping from variable names to arrays, each read when it is asked for and not kept.

    Kernels are [height, width, in, out], depthwise kernels [height, width, in, 1], dense kernels [in, out]. Each
    array is float32, contiguous, and the caller's own, so it may be written to.
    """

    def __init__(self, shapes: Mapping[str, Shape], read: Callable[[str], Array]) -> None:
        """`read` gives the array of any name of `shapes`, in that shape."""
        self.shapes: Mapping[str, Shape] = dict(shapes)
        """Name to shape, known without reading an array."""
        self._read: Callable[[str], Array] | None = read

    def __getitem__(self, name: str) -> Array:
        """Read one array. Raises KeyError, CorruptWeightsError, or ValueError after `close`."""
        if name not in self.shapes:
            raise KeyError(name)
        if self._read is None:
            raise ValueError(f"cannot read {name}: these weights have been closed")
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a name, without reading its array."""
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self.shapes)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self.shapes)

    def renamed(self, names: Mapping[str, str]) -> "LazyArrays":
        """Return the same arrays under other names: `names` is from the new to the present one."""
        return LazyArrays({new: self.shapes[old] for new, old in names.items()}, lambda new: self[names[new]])

    def close(self) -> None:
        """Let go of the file behind the arrays."""
        self._read = None


def from_mapping(mapping: Mapping[str, Any]) -> LazyArrays:
    """Take a plain mapping from TF-Slim's names (":0" at their end is dropped) to anything NumPy can read.

    Raises:
        InputError: a name is no string, or a value is not an array of numbers.
    """
    shapes, values = {}, {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise InputError(f"weights must map variable names to arrays; {name!r} is not a name")
        name = name.removesuffix(":0")
        values[name] = value
        shapes[name] = np.shape(value) if hasattr(value, "shape") else _numbers(name, value).shape
    return LazyArrays(shapes, lambda name: _numbers(name, values[name]))


def _numbers(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the weights of {name} are not an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"the weights of {name} are not an array of numbers but of {array.dtype}")
    return array.astype(np.float32, order="C")
