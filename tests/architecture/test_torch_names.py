"""TF-Slim's variables under torch's names and in torch's layouts."""

import numpy as np
import pytest

from pnasnet.architecture.torch_names import (
    axes_from_torch,
    parameter_name,
    to_tensorflow_layout,
    to_torch_layout,
    variable_leaf,
)


@pytest.mark.parametrize(
    ("variable", "in_torch", "in_tensorflow"),
    [
        ("conv0/weights", (8, 3, 5, 7), (5, 7, 3, 8)),
        ("cell_0/pointwise_weights", (8, 3, 1, 2), (1, 2, 3, 8)),
        ("cell_0/depthwise_weights", (8, 1, 5, 7), (5, 7, 8, 1)),
        ("final_layer/FC/weights", (10, 4), (4, 10)),
        ("final_layer/FC/biases", (10,), (10,)),
    ],
)
def test_layouts(variable: str, in_torch: tuple[int, ...], in_tensorflow: tuple[int, ...]) -> None:
    value = np.arange(np.prod(in_torch)).reshape(in_torch)
    moved = to_tensorflow_layout(variable, value)
    assert moved.shape == in_tensorflow
    assert tuple(in_torch[axis] for axis in axes_from_torch(variable, value.ndim)) == in_tensorflow
    np.testing.assert_array_equal(to_torch_layout(variable, moved), value)


def test_a_kernel_keeps_its_pixels_and_channels() -> None:
    value = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)  # [out, in, height, width]
    assert to_tensorflow_layout("conv0/weights", value)[4, 6, 2, 1] == value[1, 2, 4, 6]


def test_names() -> None:
    names = {
        "cell_0/1x1/weights": "cell_0.1x1.weight",
        "cell_0/separable/depthwise_weights": "cell_0.separable.depthwise.weight",
        "cell_0/separable/pointwise_weights": "cell_0.separable.pointwise.weight",
        "conv0_bn/moving_variance": "conv0_bn.running_var",
        "conv0_bn/moving_mean": "conv0_bn.running_mean",
        "conv0_bn/gamma": "conv0_bn.weight",
        "final_layer/FC/biases": "final_layer.FC.bias",
    }
    assert {variable: parameter_name(variable) for variable in names} == names
    assert variable_leaf("weight", batch_norm=True) == "gamma"
    assert variable_leaf("weight", batch_norm=False) == "weights"
    assert variable_leaf("running_var", batch_norm=False) is None
