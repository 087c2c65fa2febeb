"""Preprocessing inside an ONNX model, against this package's own."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper

from pnasnet.architecture.plan import resolve
from pnasnet.errors import InputError
from pnasnet.images import PRESETS, transform
from pnasnet.lowering.onnx_graph import build
from pnasnet.lowering.onnx_preprocess import add_preprocessing

from tests.helpers.golden_weights import SPECS, Floats, weights

Pixels = npt.NDArray[np.uint8]
PLAN = resolve(SPECS["nasnet_cifar"])
SIZES = [(32, 32), (1, 1), (1, 40), (40, 1), (2, 3), (7, 5), (31, 33), (64, 64), (63, 97), (201, 133), (500, 400)]
TOLERANCE = 3.4e-5


def model(preset: str) -> onnx.ModelProto:
    """Return a model that also returns the network's input."""
    built = build(PLAN, weights("nasnet_cifar"))
    add_preprocessing(built, PLAN.spec.image_size, PRESETS[preset])
    built.graph.output.append(helper.make_tensor_value_info("images/resized", TensorProto.FLOAT, None))
    return built


def in_onnxruntime(built: onnx.ModelProto) -> Callable[[Pixels], list[Floats]]:
    session = onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["images/resized", "global_pool"], {"images": pixels})


def in_openvino(built: onnx.ModelProto) -> Callable[[Pixels], list[Floats]]:
    core = openvino.Core()
    read = core.read_model(built.SerializeToString())
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: [compiled(pixels)[name] for name in ("images/resized", "global_pool")]


@pytest.mark.parametrize("preset", ["hub", "slim"])
@pytest.mark.parametrize("runtime", [in_onnxruntime, in_openvino])
def test_pictures_of_any_size_become_the_networks_input(
    runtime: Callable[[onnx.ModelProto], Callable[[Pixels], list[Floats]]], preset: str
) -> None:
    run, generator = runtime(model(preset)), np.random.default_rng(0)
    session = onnxruntime.InferenceSession(build(PLAN, weights("nasnet_cifar")).SerializeToString())
    for height, width in SIZES:
        pixels = generator.integers(0, 256, (2, height, width, 3), np.uint8)
        expected = np.stack([transform(picture, PLAN.spec.image_size, preset) for picture in pixels])
        resized, features = run(pixels)
        np.testing.assert_allclose(resized, expected, rtol=0, atol=TOLERANCE, err_msg=f"{height}x{width}")
        (same,) = session.run(None, {"images": expected})
        # The pictures are noise, and the kernels random: photos differ less.
        np.testing.assert_allclose(features, same, rtol=0, atol=5e-4 * float(same.max()), err_msg=f"{height}x{width}")


def test_the_model_is_valid_and_accepts_pixels() -> None:
    built = build(PLAN, weights("nasnet_cifar"))
    add_preprocessing(built, PLAN.spec.image_size, PRESETS["slim"])
    onnx.checker.check_model(built, full_check=True)
    (pixels,) = built.graph.input
    assert pixels.type.tensor_type.elem_type == TensorProto.UINT8
    shape = [dim.dim_param or dim.dim_value for dim in pixels.type.tensor_type.shape.dim]
    assert shape == ["batch", "height", "width", 3]


def test_a_bicubic_preset_is_refused() -> None:
    with pytest.raises(InputError, match="the preset timm resizes as Pillow's bicubic filter does"):
        add_preprocessing(build(PLAN, weights("nasnet_cifar")), PLAN.spec.image_size, PRESETS["timm"])
