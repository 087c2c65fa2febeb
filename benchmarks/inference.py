"""Seconds per image of every way to run a network, in one process, in turn, and their ratios.

Command:  python benchmarks/inference.py [--model pnasnet_large] [--batch 1] [--rounds 5] [--onnx FILE ...]
Needs:    the torch extra; timm (with its torchvision) and onnxruntime are timed where they can be imported.
          `--onnx` times other exports of the same network under OpenVINO: one input of shape [batch, 3, height, width].
Result:   see docs/benchmarks.md.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.zoo import find
from pnasnet.lowering.torch_network import Network

from common import Run, in_turn, machine, random_weights

TIMM_NAMES = {"pnasnet_large": "pnasnet5large", "nasnet_large": "nasnetalarge"}
BASE = "torch eager, NCHW"


def ours(model: str, plan: Plan) -> dict[str, Run]:
    """Return our own ways: torch eager and OpenVINO."""
    weights = random_weights(plan)
    network = Network(plan).eval()
    network.load_variables(weights)
    runs = {BASE: _torch(network, torch.contiguous_format), "torch eager, NHWC": _torch(network, torch.channels_last)}
    for precision in ("float32", "bfloat16"):
        module = Module(model, weights=weights, engine="openvino", precision=precision)
        runs[f"pnasnet OpenVINO, {precision}"] = lambda images, module=module: module.run(images, ("global_pool",))  # type: ignore[misc]
    return runs


def _torch(network: Network, memory_format: torch.memory_format) -> Run:
    def run(images: NDArray[np.float32]) -> object:
        network.use_memory_format(memory_format)
        with torch.inference_mode():
            return network(torch.from_numpy(images))

    return run


def peers(model: str, size: int, folder: Path) -> dict[str, Run]:
    """Return timm's ways, as far as this machine can run them; say why not otherwise."""
    runs: dict[str, Run] = {}
    try:
        import timm
    except Exception as error:  # a broken torchvision raises more than ImportError
        print(f"skipped timm: {type(error).__name__}: {error}")
        return runs
    if model not in TIMM_NAMES:
        return runs
    network: Any = timm.create_model(TIMM_NAMES[model], num_classes=0).eval()
    file = folder / "timm.onnx"
    torch.onnx.export(network, (torch.rand(1, 3, size, size),), file, dynamo=False)
    runs["timm eager, NCHW"] = _timm(network, torch.contiguous_format)
    runs["timm export, OpenVINO"] = openvino_file(file)
    with _skipping("timm export, ONNX Runtime"):
        runs["timm export, ONNX Runtime"] = _onnxruntime(file)
    with _skipping("timm compiled"):
        runs["timm compiled, frozen"] = _timm(torch.compile(network), torch.contiguous_format)
    runs["timm eager, NHWC"] = _timm(network, torch.channels_last)
    return runs


@contextmanager
def _skipping(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        print(f"skipped {name}: {error}")


def _nchw(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2) * 2 - 1)


def _timm(network: Callable[[torch.Tensor], object], memory_format: torch.memory_format) -> Run:
    def run(images: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(_nchw(images)).contiguous(memory_format=memory_format))

    return run


def openvino_file(file: Path) -> Run:
    """Return how OpenVINO runs an ONNX file in float32."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(file, "CPU", options)
    return lambda images: compiled(_nchw(images))


def _onnxruntime(file: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: _nchw(images)})


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_large")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--onnx", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    plan = resolve(find(options.model).spec)
    height, width = plan.spec.image_size
    with TemporaryDirectory() as folder:
        runs = ours(options.model, plan) | peers(options.model, height, Path(folder))
        runs |= {f"{file.name}, OpenVINO": openvino_file(file) for file in options.onnx}
        images = np.random.default_rng(0).random((options.batch, height, width, 3), np.float32)
        seconds = in_turn(runs, images, options.rounds)
    print(f"{options.model} at {height}x{width}, batch {options.batch}, {machine()}")
    for name, value in seconds.items():
        rate = plan.mult_adds * 2 / value / 1e9
        print(f"{name:28} {value:8.4f} s/image {seconds[BASE] / value:6.2f} x {rate:7.1f} GFLOP/s")


if __name__ == "__main__":
    main()
