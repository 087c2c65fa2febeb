"""The golden reference outputs (`golden/*.npz`, made with TensorFlow and TF-Slim): their inputs and how to compare.

The reference networks' kernels are random but reproducible: `draw` makes each from its variable's name. Only the moving
statistics, which came from running the networks, are stored.
"""

import json
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec

Floats = npt.NDArray[np.float32]

GOLDEN = Path(__file__).parents[1] / "golden"
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
TOLERANCE = 1e-4
"""Largest difference allowed, as a fraction of the endpoint's largest magnitude."""
COSINE_TOLERANCE = 1e-7

SPECS: Mapping[str, NetworkSpec] = {
    "pnasnet_large": NetworkSpec(PNASNET5, 12, 216, (331, 331), 1001, drop_path_keep=0.6, dropout_keep=0.5),
    "pnasnet_mobile": NetworkSpec(PNASNET5, 9, 54, (224, 224), 1001, stem_multiplier=1.0, dropout_keep=0.5),
    "nasnet_mobile": NetworkSpec(
        NASNET_A_NORMAL, 12, 44, (224, 224), 1001, NASNET_A_REDUCTION, stem_multiplier=1.0, skip_reduction_input=False
    ),
    "nasnet_cifar": NetworkSpec(
        NASNET_A_NORMAL, 18, 32, (32, 32), 10, NASNET_A_REDUCTION, "cifar", epsilon=1e-5, skip_reduction_input=False
    ),
}
"""The networks that have goldens."""

EVERY_OPERATION = CellSpec.of(
    [
        ("conv1x7_7x1", 0, "dil3", 1),
        ("avg3", 1, "max3", 0),
        ("sep3", 2, "identity", 0),
        ("identity", 1, "sep7", 3),
        ("sep5", 0, "avg3", 4),
    ]
)
"""A cell of operations that PNASNet does not have."""


def draw(name: str, shape: tuple[int, ...]) -> Floats:
    """Value of the TF-Slim variable `name` (TensorFlow layout: HWIO kernels, HWC1 depthwise kernels), float32."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit("/", 1)[1]
    if leaf == "gamma":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if leaf in ("beta", "biases"):
        return (0.2 * rng.standard_normal(shape)).astype(np.float32)
    fan_in = shape[0] * shape[1] if leaf == "depthwise_weights" else int(np.prod(shape[:-1]))
    kernel: Floats = (np.sqrt(2.0 / fan_in) * rng.standard_normal(shape)).astype(np.float32)
    return kernel


def drawn(spec: NetworkSpec) -> dict[str, Floats]:
    """Return random weights of any network, by `draw`, with variances of at least 0.5."""
    values = {name: draw(name, shape) for name, shape in resolve(spec).variables().items()}
    for name in values:
        if name.endswith("/moving_variance"):
            values[name] = np.abs(values[name]) + np.float32(0.5)
    return values


@cache
def load(name: str) -> Mapping[str, npt.NDArray[Any]]:
    """Return all arrays of one golden file."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def images(size: int) -> Floats:
    """Return the four reference photos, [4, size, size, 3] float32 in [0, 1]."""
    photos = [np.asarray(Image.open(GOLDEN / f"{photo}_{size}.png").convert("RGB")) for photo in PHOTOS]
    return (np.stack(photos) / 255).astype(np.float32)


def weights(name: str) -> dict[str, Floats]:
    """Return the variables of the reference network `name`, in TensorFlow's layout and graph order."""
    golden = load(name)
    return {
        variable: golden[f"bn/{variable}"].astype(np.float32)
        if f"bn/{variable}" in golden
        else draw(variable, tuple(json.loads(shape)))
        for variable, shape in zip(golden["variables"].tolist(), golden["shapes"].tolist(), strict=True)
    }


def assert_endpoints(name: str, outputs: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Fail unless each of `outputs` (endpoint name to array, maps in NHWC) equals the golden endpoint."""
    golden = load(name)
    for endpoint, value in outputs.items():
        key = f"endpoint/{endpoint}"
        if value.ndim == 2:
            _assert_close(endpoint, value, golden[key])
        else:
            assert value.shape == tuple(golden[f"{key}/shape"]), endpoint
            scale = float(np.abs(value).max())
            corners = value[:, [0, 0, -1, -1], [0, -1, 0, -1], :16]
            _assert_close(f"{endpoint} mean", value.mean((1, 2), dtype="float64"), golden[f"{key}/mean"])
            _assert_close(f"{endpoint} corner", corners, golden[f"{key}/corner"], scale)


def _assert_close(
    what: str, value: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], scale: float | None = None
) -> None:
    a, b = (array.astype(np.float64).reshape(len(array), -1) for array in (value, expected))
    assert a.shape == b.shape, what
    difference = np.abs(a - b).max() / (scale or np.abs(b).max())
    assert difference <= TOLERANCE, f"{what} differs by {difference:.2e} of its largest value"
    cosine = ((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))).min()
    assert cosine >= 1 - COSINE_TOLERANCE, f"{what} has cosine 1 - {1 - cosine:.2e}"
