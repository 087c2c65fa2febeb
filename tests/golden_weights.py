"""The golden reference outputs: how their kernels are drawn, and how to read them."""

import numpy as np


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of the TF-Slim variable `name` (TensorFlow layout: HWIO kernels, HWC1 depthwise kernels), float32."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit("/", 1)[1]
    if leaf == "gamma":
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    if leaf in ("beta", "biases"):
        return (0.2 * rng.standard_normal(shape)).astype("float32")
    fan_in = shape[0] * shape[1] if leaf == "depthwise_weights" else int(np.prod(shape[:-1]))
    return (np.sqrt(2.0 / fan_in) * rng.standard_normal(shape)).astype("float32")
