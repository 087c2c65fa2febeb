"""Networks as values: cells, width, depth, stem and head, without any framework."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from ..errors import SpecError
from .cells import CellSpec

_WHOLE = {"num_cells", "filters", "num_classes", "stem_stride", "reductions"}
_RANGES = (
    ("filter_scaling", 1e-3, 1e3),
    ("stem_multiplier", 1e-3, 1e3),
    ("epsilon", 1e-12, 1.0),
    ("weight_decay", 0, 1e6),
)


@dataclass(frozen=True)
class NetworkSpec:
    """A network: its cells, its width and depth, its stem and head.

    With a `reduction_cell` the network is a NASNet: that cell is inserted before the cells where the map halves, and
    makes up the ImageNet stem. Without one it is a PNASNet: the one `cell` takes stride 2 there.
    Raises `SpecError` where no such network can exist.
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
    """Stride of the `cifar` stem's convolution; with 2 all that follows costs a quarter. ImageNet's always has 2."""
    reductions: int = 2
    """How often the map halves, evenly spread over the cells."""
    filter_scaling: float = 2.0
    """By what the filters grow at each reduction."""
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
    """Whether to train with an auxiliary classifier, where the map is large enough for one (5x5)."""

    def __post_init__(self) -> None:
        """Check the numbers; `resolve` checks the sizes."""
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise SpecError(f"{name} must be from {low:g} to {high:g}, not {getattr(self, name)}")
        if self.num_cells < max(1, self.reductions):
            raise SpecError(
                f"{self.num_cells} cells cannot reduce {self.reductions} times; give at least as many cells"
            )
        if min(self.image_size) < 1 or self.reductions < 0:
            raise SpecError(f"image size {self.image_size} and reductions {self.reductions} must be positive")
        if self.num_classes is not None and self.num_classes < 1:
            raise SpecError(f"num_classes must be at least 1 or None, not {self.num_classes}")
        if self.stem not in ("imagenet", "cifar"):
            raise SpecError(f"stem must be 'imagenet' or 'cifar', not {self.stem!r}")
        if self.stem_stride < 1 or (self.stem == "imagenet" and self.stem_stride != 1):
            raise SpecError(f"stem_stride={self.stem_stride} must be at least 1, and is for stem='cifar' alone")
        if min(self.stem_filters, self.narrowest) < 1:
            raise SpecError(f"{self.filters} filters leave none in the stem; give more")
        for name in ("drop_path_keep", "dropout_keep"):
            if not 0 < getattr(self, name) <= 1:
                raise SpecError(f"{name} must be in (0, 1], not {getattr(self, name)}")
        if self.reduction_cell is None and not self.skip_reduction_input:
            raise SpecError("skip_reduction_input=False needs a reduction_cell")

    @property
    def stem_filters(self) -> int:
        """Filters of the first convolution."""
        return int((32 if self.stem == "imagenet" else self.filters) * self.stem_multiplier)

    @property
    def narrowest(self) -> int:
        """Filters of the first cell, of the stem or not."""
        return int(self.filters / self.filter_scaling**2) if self.stem == "imagenet" else self.filters

    @property
    def reduction_indices(self) -> tuple[int, ...]:
        """The cells at which the map halves."""
        return tuple(int(i / (self.reductions + 1) * self.num_cells) for i in range(1, self.reductions + 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain values, fit for JSON."""
        cells = {
            "cell": self.cell.to_dict(),
            "reduction_cell": self.reduction_cell and self.reduction_cell.to_dict(),
        }
        return {**asdict(self), "image_size": list(self.image_size), **cells}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "NetworkSpec":
        """Rebuild a description from `to_dict`'s value, as read from JSON. Raises `SpecError`."""
        unknown = set(value) - {field.name for field in fields(cls)}
        if unknown:
            raise SpecError(f"a network has no field {', '.join(sorted(unknown))}")
        try:
            reduction = value.get("reduction_cell")
            changes = {
                "cell": CellSpec.from_dict(value["cell"]),
                "reduction_cell": reduction and CellSpec.from_dict(reduction),
                "image_size": (int(value["image_size"][0]), int(value["image_size"][1])),
            }
            _check_kinds(value)
            spec = cls(**{**value, **changes})
            _check_sizes(spec)
            return spec
        except SpecError:
            raise
        except (KeyError, TypeError, IndexError, ValueError, ArithmeticError) as error:
            raise SpecError(f"not a network description: {error}") from error


def _check_kinds(value: Mapping[str, Any]) -> None:
    """Raise `SpecError` where a whole number is none; those that need not be whole are looked at by their range."""
    for name in _WHOLE & value.keys():
        number = value[name]
        if not isinstance(number, int) and not (name == "num_classes" and number is None):
            raise SpecError(f"{name} {number!r} is no whole number")


def _check_sizes(spec: NetworkSpec) -> None:
    """Raise `SpecError` for what would take the memory before anybody could say so: a file may come from anywhere."""
    blocks = max(len(cell.blocks) for cell in (spec.cell, spec.reduction_cell) if cell)
    stem, widest = spec.stem_filters, spec.filters * max(spec.filter_scaling, 1) ** spec.reductions
    for name, size, most in (
        ("num_cells", spec.num_cells, 1000),
        ("filters", max(spec.filters, stem, int(widest)), 100_000),
        ("blocks", blocks, 100),
        ("image_size", max(spec.image_size), 2**16),
        ("num_classes", spec.num_classes or 0, 10**7),
    ):
        if size > most:
            raise SpecError(f"{name} {size:,} is more than a file may ask for, {most:,}")


def resized(spec: NetworkSpec, image_size: tuple[int, int]) -> NetworkSpec:
    """Return the same network for images of another size; only the auxiliary head's variables may change."""
    return replace(spec, image_size=image_size)
