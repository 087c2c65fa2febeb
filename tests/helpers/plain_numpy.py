"""The operations of cells in plain NumPy, written from their definitions in TensorFlow, pixel by pixel.

Independent of the package: neither its plan nor its padding is used here. float64 [height, width, channels].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
Variables = Callable[[str], Map]
"""Returns the variable `operation/...` by its name."""


def window_starts(size: int, kernel: int, stride: int, dilation: int = 1) -> list[int]:
    """Return the first pixel, maybe negative, of each window of TensorFlow's SAME padding.

    ceil(size / stride) windows; the pixels that are missing are added half before and half after, the odd one after.
    """
    count = (size + stride - 1) // stride
    reach = dilation * (kernel - 1) + 1
    missing = max(0, (count - 1) * stride + reach - size)
    return [i * stride - missing // 2 for i in range(count)]


def windows(x: Map, kernel: tuple[int, int], stride: int, dilation: int, outside: float) -> Map:
    """Return [rows, columns, kernel height, kernel width, channels]; pixels outside of the map are `outside`."""
    tops = window_starts(x.shape[0], kernel[0], stride, dilation)
    lefts = window_starts(x.shape[1], kernel[1], stride, dilation)
    out = np.full((len(tops), len(lefts), *kernel, x.shape[2]), outside)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            for a in range(kernel[0]):
                for b in range(kernel[1]):
                    row, column = top + a * dilation, left + b * dilation
                    if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
                        out[i, j, a, b] = x[row, column]
    return out


def conv(x: Map, kernel: Map, stride: int = 1, dilation: int = 1) -> Map:
    """Convolve with [height, width, in, out]."""
    seen = windows(x, (kernel.shape[0], kernel.shape[1]), stride, dilation, 0.0)
    result: Map = np.einsum("ijabc,abcd->ijd", seen, kernel)
    return result


def depthwise(x: Map, kernel: Map, stride: int = 1) -> Map:
    """Convolve each channel with its own [height, width, channels, 1]."""
    seen = windows(x, (kernel.shape[0], kernel.shape[1]), stride, 1, 0.0)
    result: Map = np.einsum("ijabc,abc->ijc", seen, kernel[..., 0])
    return result


def pool(x: Map, kind: str, size: int, stride: int) -> Map:
    """Take the maximum or the mean of the pixels inside the map."""
    seen = windows(x, (size, size), stride, 1, np.nan)
    result: Map = np.nanmax(seen, axis=(2, 3)) if kind == "max" else np.nanmean(seen, axis=(2, 3))
    return result


def norm(x: Map, scope: str, variables: Variables, epsilon: float) -> Map:
    """Normalize by the moving statistics."""
    gamma, beta, mean, variance = (
        variables(f"{scope}/{leaf}") for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def operation(name: str, x: Map, filters: int, stride: int, variables: Variables, epsilon: float) -> Map:
    """Return what an operation makes of a map, as in TF-Slim's `_apply_conv_operation` and NASNet's appendix."""

    def relu(x: Map) -> Map:
        return np.maximum(x, 0)

    def weights(scope: str) -> Map:
        return variables(f"{scope}/weights")

    if name.startswith("sep"):
        size = name[3:]
        for turn, step in ((1, stride), (2, 1)):
            scope = f"separable_{size}x{size}_{turn}"
            x = depthwise(relu(x), variables(f"{scope}/depthwise_weights"), step)
            x = conv(x, variables(f"{scope}/pointwise_weights"))
            x = norm(x, f"bn_sep_{size}x{size}_{turn}", variables, epsilon)
        return x
    if name[:3] in ("max", "avg"):
        pooled = pool(x, name[:3], int(name[3:]), stride)
        return pooled if x.shape[2] == filters else norm(conv(pooled, weights("1x1")), "bn_1", variables, epsilon)
    if name == "identity":
        if stride == 1 and x.shape[2] == filters:
            return x
        return norm(conv(relu(x), weights("1x1"), stride), "bn_1", variables, epsilon)
    if name == "dil3":
        return norm(conv(relu(x), weights("dilated_3x3"), stride, 2), "bn_dilated_3x3", variables, epsilon)
    if "_" in name:
        first, second = name.removeprefix("conv").split("_")
        x = norm(conv(relu(x), weights(first), stride), f"bn_{first}", variables, epsilon)
        return norm(conv(relu(x), weights(second)), f"bn_{second}", variables, epsilon)
    size = name[4:]
    scope = f"{size}x{size}"
    return norm(conv(relu(x), weights(f"conv_{scope}"), stride), f"bn_{scope}", variables, epsilon)


def halved(x: Map, scope: str, variables: Variables, epsilon: float) -> Map:
    """Return `factorized_reduction`: 1x1 convolutions of the pixels at even and at odd coordinates."""
    height, width, _ = x.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    odd = np.zeros((rows, columns, x.shape[2]))
    odd[: height // 2, : width // 2] = x[1::2, 1::2]
    paths = [
        conv(x[::2, ::2], variables(f"{scope}path1_conv/weights")),
        conv(odd, variables(f"{scope}path2_conv/weights")),
    ]
    return norm(np.concatenate(paths, 2), f"{scope}final_path_bn", variables, epsilon)
