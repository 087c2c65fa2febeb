"""Networks as plain values: cells, width, depth, stem and head."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from ..errors import SpecError
from .cells import CellSpec, whole_number

_NUMBERS = (
    # name, lowest, highest: networks are bounded, because a description may come from anywhere
    ("filter_scaling", 1e-3, 1e3),
    ("stem_multiplier", 1e-3, 1e3),
    ("epsilon", 1e-12, 1.0),
    ("weight_decay", 0, 1e6),
    ("drop_path_keep", 0, 1),
    ("dropout_keep", 0, 1),
)
_MAX_FILTERS = 100_000
_WHOLE = (
    ("num_cells", 1, 1000),
    ("filters", 1, _MAX_FILTERS),
    ("stem_stride", 1, 1000),
    ("reductions", 0, 1000),
    ("num_classes", 1, 10**7),
)
_LONGEST_SIDE = 2**16


@dataclass(frozen=True)
class NetworkSpec:
    """A network: its cells, its width and depth, its stem and head.

    With a `reduction_cell` the network is a NASNet: that cell is inserted wherever the map halves, and forms the
    ImageNet stem. Without one it is a PNASNet, whose `cell` itself has stride 2 there.

    NumPy's numbers become Python's, and lists become tuples. Raises `SpecError` if the network is impossible or
    unreasonably large.

    Example:
        >>> from pnasnet import PNASNET5, NetworkSpec, resolve
        >>> spec = NetworkSpec(PNASNET5, num_cells=6, filters=32, image_size=(64, 64), num_classes=10)
        >>> resolve(spec).num_features
        640
        >>> spec.stem_filters, spec.narrowest, spec.reduction_indices
        (96, 8, (2, 4))
        >>> NetworkSpec.from_dict(spec.to_dict()) == spec
        True
    """

    cell: CellSpec
    num_cells: int
    filters: int
    """Filters of each operation before the first reduction."""
    image_size: tuple[int, int]
    """Height and width in pixels."""
    num_classes: int | None = None
    """Width of the classifier; None for a network that ends with its features."""
    reduction_cell: CellSpec | None = None
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`imagenet`: a 3x3 convolution of stride 2 and two reducing cells; `cifar`: a 3x3 convolution."""
    stem_multiplier: float = 3.0
    stem_stride: int = 1
    """Stride of the `cifar` stem's convolution; 2 makes the cells four times cheaper. For `imagenet` it is always 2."""
    reductions: int = 2
    """How often the map halves, evenly distributed over the cells."""
    filter_scaling: float = 2.0
    """Factor of the filters at each reduction."""
    skip_reduction_input: bool = True
    """NASNet only: whether the cell after a reduction looks back past the reduction cell's own input."""
    epsilon: float = 1e-3
    """Batch normalization's epsilon."""
    drop_path_keep: float = 1.0
    """Keep probability of a path in the last cell at the end of training."""
    dropout_keep: float = 1.0
    """Keep probability of the dropout before the classifier."""
    weight_decay: float = 4e-5
    """Factor of the L2 terms, each w²/2 summed over a kernel."""
    aux_head: bool = True
    """Whether to train with an auxiliary classifier, if the map is large enough for one (5x5)."""

    def __post_init__(self) -> None:
        """Convert and check the values. `resolve` checks the sizes of feature maps."""
        for name, value in _converted(self).items():
            object.__setattr__(self, name, value)
        if self.num_cells < max(1, self.reductions):
            raise SpecError(f"{self.num_cells} cells cannot reduce {self.reductions} times: use at least as many cells")
        if self.stem == "imagenet" and self.stem_stride != 1:
            raise SpecError(f"stem_stride={self.stem_stride} is for stem='cifar' alone")
        if min(self.stem_filters, self.narrowest) < 1:
            raise SpecError(f"{self.filters} filters leave none in the stem; use more")
        widest = max(self.stem_filters, self.filters * max(self.filter_scaling, 1) ** self.reductions)
        if widest > _MAX_FILTERS:
            raise SpecError(f"layers of {widest:.3g} filters are too wide: the most is {_MAX_FILTERS:,}")
        if self.reduction_cell is None and not self.skip_reduction_input:
            raise SpecError("skip_reduction_input=False needs a reduction_cell")

    @property
    def stem_filters(self) -> int:
        """Filters of the first convolution."""
        return int((32 if self.stem == "imagenet" else self.filters) * self.stem_multiplier)

    @property
    def narrowest(self) -> int:
        """Filters of the first cell: of the stem's, or of cell 0 without stem cells."""
        return int(self.filters / self.filter_scaling**2) if self.stem == "imagenet" else self.filters

    @property
    def reduction_indices(self) -> tuple[int, ...]:
        """The indices of the cells at which the map halves."""
        return tuple(int(i / (self.reductions + 1) * self.num_cells) for i in range(1, self.reductions + 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain values, for JSON."""
        cells = {
            "cell": self.cell.to_dict(),
            "reduction_cell": self.reduction_cell and self.reduction_cell.to_dict(),
        }
        return {**asdict(self), "image_size": list(self.image_size), **cells}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "NetworkSpec":
        """Return the spec that `to_dict` described. Raises `SpecError`."""
        unknown = set(value) - {field.name for field in fields(cls)}
        if unknown:
            raise SpecError(f"a network has no field {', '.join(sorted(unknown))}")
        try:
            cells = {
                name: CellSpec.from_dict(value[name])
                for name in ("cell", "reduction_cell")
                if name == "cell" or value.get(name) is not None
            }
            return cls(**{**value, **cells})
        except SpecError:
            raise
        except (KeyError, TypeError) as error:  # a missing field
            raise SpecError(f"not a network: {str(error).rpartition('__init__() ')[2]}") from error


def resized(spec: NetworkSpec, image_size: tuple[int, int]) -> NetworkSpec:
    """Return the same network for another image size. Only the variables of the auxiliary head may change."""
    return replace(spec, image_size=image_size)


def _converted(spec: NetworkSpec) -> dict[str, Any]:
    """Return the fields of a spec, each checked on its own and converted to its declared type."""
    if not isinstance(spec.cell, CellSpec) or not isinstance(spec.reduction_cell, CellSpec | None):
        raise SpecError("cell and reduction_cell must be CellSpec")
    values: dict[str, Any] = {"image_size": _size(spec.image_size)}
    for name, low, high in _WHOLE:
        value = getattr(spec, name)
        if not (name == "num_classes" and value is None):
            values[name] = number = whole_number(name, value)
            if not low <= number <= high:
                raise SpecError(f"{name} must be from {low} to {high:,}, not {number:,}")
    for name, lowest, highest in _NUMBERS:
        values[name] = _number(name, getattr(spec, name), lowest, highest)
    for name in ("skip_reduction_input", "aux_head"):
        flag = getattr(spec, name)
        if type(flag).__name__ not in ("bool", "bool_"):  # bool_ is NumPy's
            raise SpecError(f"{name} must be True or False, not {flag!r}")
        values[name] = bool(flag)
    if spec.stem not in ("imagenet", "cifar"):
        raise SpecError(f"stem must be 'imagenet' or 'cifar', not {spec.stem!r}")
    return values


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise SpecError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SpecError(f"{name} must be a number, not {value!r}") from None
    positive = name.endswith("_keep")  # a path that is never kept cannot be scaled
    if not math.isfinite(number) or not low <= number <= high or (positive and number == 0):
        raise SpecError(f"{name} must be {'in (0, 1]' if positive else f'from {low:g} to {high:g}'}, not {value!r}")
    return number


def _size(value: Any) -> tuple[int, int]:
    try:
        height, width = value
    except (TypeError, ValueError):
        raise SpecError(f"image_size must be (height, width), such as (64, 64), not {value!r}") from None
    size = whole_number("image_size", height), whole_number("image_size", width)
    if not (min(size) >= 1 and max(size) <= _LONGEST_SIDE):
        raise SpecError(f"image_size must be from 1 to {_LONGEST_SIDE:,} pixels, not {size[0]:,}x{size[1]:,}")
    return size
