"""The canonical form of weights: float32 arrays in TensorFlow's layout by TF-Slim's variable names, read lazily."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Array = NDArray[np.float32]
ArrayShape = tuple[int, ...]


class LazyArrays(Mapping[str, Array]):
    """A mapping from variable names to arrays; each array is read when it is used, and not kept.

    Kernels are [height, width, in, out], depthwise kernels [height, width, in, 1], dense kernels [in, out]. Arrays are
    float32 and contiguous. Each read returns a new array, which the caller may change.

    Attributes:
        shapes: the shape of each array, known without reading it.

    Example:
        >>> import numpy as np
        >>> from pnasnet.weights import LazyArrays
        >>> arrays = LazyArrays({"a": (2,)}, lambda name: np.zeros(2, np.float32))
        >>> arrays["a"], arrays.shapes
        (array([0., 0.], dtype=float32), {'a': (2,)})
        >>> arrays.renamed({"b": "a"})["b"]
        array([0., 0.], dtype=float32)
        >>> arrays.close()
    """

    def __init__(self, shapes: Mapping[str, ArrayShape], read: Callable[[str], Array]) -> None:
        self.shapes: Mapping[str, ArrayShape] = dict(shapes)
        self._read: Callable[[str], Array] | None = read

    def __getitem__(self, name: str) -> Array:
        """Read one array. Raises KeyError, CorruptWeightsError, or ValueError after `close`."""
        if name not in self.shapes:
            raise KeyError(name)
        if self._read is None:
            raise ValueError(f"cannot read {name}: these weights have been closed")
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def renamed(self, names: Mapping[str, str]) -> "LazyArrays":
        """Return these arrays under other names: `names` maps new names to old ones."""
        return LazyArrays({new: self.shapes[old] for new, old in names.items()}, lambda new: self[names[new]])

    def close(self) -> None:
        """Release the file behind the arrays."""
        self._read = None


def from_mapping(mapping: Mapping[str, Any]) -> LazyArrays:
    """Return a mapping from names (a `:0` at the end is dropped) to arrays, torch tensors or lists, as `LazyArrays`.

    Raises:
        InputError: a name is not a string, or a value is not an array of numbers.
    """
    shapes, values = {}, {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise InputError(f"weights must map variable names to arrays; {name!r} is not a name")
        name = name.removesuffix(":0")
        values[name] = value
        shapes[name] = tuple(np.shape(value)) if hasattr(value, "shape") else _numbers(name, value).shape
    return LazyArrays(shapes, lambda name: _numbers(name, values[name]))


def _numbers(name: str, value: Any) -> Array:
    if hasattr(value, "detach"):  # a torch tensor, possibly on a GPU, with gradients, or bfloat16
        value = value.detach().cpu().float()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the weights of {name} are not an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"the weights of {name} are not an array of numbers but of {array.dtype}")
    return array.astype(np.float32, order="C")
