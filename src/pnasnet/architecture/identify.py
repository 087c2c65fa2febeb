"""Recognise the network of weights that do not state it, by the names and shapes of the variables."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from ..errors import SpecError, WeightsMismatchError
from .cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5
from .plan import resolve
from .spec import NetworkSpec
from .zoo import NETWORKS

Shapes = Mapping[str, tuple[int, ...]]

_CLASSIFIER = "final_layer/FC/biases"


def identify(shapes: Shapes, image_size: tuple[int, int] | None, *, origin: str) -> NetworkSpec:
    """Return the network that has exactly the variables of `shapes`: a named one, or PNASNet-5 or NASNet-A of any size.

    Args:
        shapes: TF-Slim's variable names and shapes; optimizer slots and the like are ignored.
        image_size: height and width; None for the named network's, or else 331x331, 224x224 or 32x32 by its width.
        origin: name of the weights in an error.

    Raises:
        WeightsMismatchError: no PNASNet-5 or NASNet-A has these variables.
    """
    biases = shapes.get(_CLASSIFIER)
    classes = biases[0] if biases else None
    for candidate in _candidates(shapes):
        try:
            spec = replace(candidate, num_classes=classes, image_size=image_size or candidate.image_size)
            expected = resolve(spec).variables()
        except SpecError:
            continue
        same_shapes = all(shapes.get(name) == shape for name, shape in expected.items())
        if same_shapes and _cell_kernels(shapes) == _cell_kernels(expected):
            return spec
    raise WeightsMismatchError(
        f"{origin} holds no PNASNet-5 or NASNet-A that this version recognises: pass the name of its model, too"
    )


def _cell_kernels(shapes: Shapes) -> set[str]:
    """Return the names of the kernels in cells: a network with fewer cells has some of the weights' variables."""
    return {name for name in shapes if re.match(r"(?:reduction_)?cell_", name) and name.endswith("weights")}


def _candidates(shapes: Shapes) -> Iterator[NetworkSpec]:
    """Yield the named networks, and then those that the shapes suggest."""
    yield from (network.spec for network in NETWORKS.values())
    with suppress(SpecError):
        yield from _suggested(shapes)


def _suggested(shapes: Shapes) -> Iterator[NetworkSpec]:
    """Yield the networks whose depth, width, stem and number of reductions agree with the shapes."""
    numbers = [int(match[1]) for name in shapes if (match := re.match(r"cell_(\d{1,4})/", name))]
    first, last = shapes.get("cell_0/1x1/weights"), shapes.get(f"cell_{max(numbers, default=0)}/1x1/weights")
    cifar = "l1_stem_3x3/weights" in shapes
    stem = shapes.get("l1_stem_3x3/weights" if cifar else "conv0/weights")
    if not (first and last and stem and first[-1]) or max(numbers) >= len(shapes):
        return
    filters, large = first[-1], first[-1] >= 100
    common = NetworkSpec(
        PNASNET5,
        max(numbers) + 1,
        filters,
        (32, 32) if cifar else ((331, 331) if large else (224, 224)),
        stem="cifar" if cifar else "imagenet",
        stem_multiplier=stem[-1] / (filters if cifar else 32),
        reductions=0,
        epsilon=1e-5 if cifar else 1e-3,
    )
    inserted = len({name.split("/")[0] for name in shapes if name.startswith("reduction_cell_")})
    halvings = inserted or max(last[-1] // filters, 1).bit_length() - 1
    if halvings > common.num_cells:
        return
    yield replace(common, reductions=halvings)
    for skip in (True, False):
        nasnet = {"cell": NASNET_A_NORMAL, "reduction_cell": NASNET_A_REDUCTION, "skip_reduction_input": skip}
        yield replace(common, reductions=halvings, **nasnet)  # type: ignore[arg-type]
