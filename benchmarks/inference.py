"""Seconds per image of all ways to run a network on the CPU, measured in turn in one process, and their ratios.

Command:  python benchmarks/inference.py [--model pnasnet_large] [--batch 1 8 64] [--rounds 5] [--threads 1]
                                         [--onnx FILE ...]
Needs:    the extras torch and int8; timm (with its torchvision) and onnxruntime are timed if they can be imported.
          timm is timed in float32 and bfloat16, eager and compiled with frozen weights. The int8 model has random
          weights and is calibrated on noise, which does not change the speed. `--onnx` times other exports of the same
          network under OpenVINO, with one input of shape [batch, 3, height, width].
Result:   see docs/benchmarks.md.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pnasnet import Module
from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.zoo import find
from pnasnet.engines import EngineOptions
from pnasnet.lowering.torch_inference import inference_network
from pnasnet.lowering.torch_network import Network
from pnasnet.quantize import QuantizeOptions, quantize
from pnasnet.quantize.options import FEWEST_IMAGES

from common import Run, in_turn, machine, random_weights

TIMM_NAMES = {"pnasnet_large": "pnasnet5large", "nasnet_large": "nasnetalarge"}
BASE = "torch eager, NCHW"


def ours(model: str, plan: Plan, folder: Path, threads: int | None) -> dict[str, Run]:
    """Return this package's ways: torch and OpenVINO. Files are written to `folder`."""
    weights = random_weights(plan)
    network = Network(plan).eval()
    network.load_variables(weights)
    runs = {BASE: _torch(network, torch.contiguous_format), "torch eager, NHWC": _torch(network, torch.channels_last)}
    merged = inference_network(plan, weights, merge=True)
    runs["torch folded and merged, NHWC"] = _torch(merged, torch.channels_last)
    for engine, name in (("torch", "torch"), ("openvino", "OpenVINO")):
        for precision in ("float32", "bfloat16"):
            options = EngineOptions(engine, precision, threads, device="cpu")
            runs[f"pnasnet {name}, {precision}"] = _module(Module(model, weights=weights, engine=options))
    with _skipping("pnasnet OpenVINO, int8"):
        quantized = _quantized(Module(model, weights=weights), folder)
        runs["pnasnet OpenVINO, int8"] = _module(Module(quantized, threads=threads))
    return runs


def _module(module: Module) -> Run:
    return lambda images: module.run(images, ("global_pool",))


def _quantized(module: Module, folder: Path) -> Path:
    """Write a model in int8, calibrated with noise, and return its folder."""
    weights, photos, written = folder / "random.safetensors", folder / "noise", folder / "int8"
    module.export(weights)
    photos.mkdir()
    rng, (height, width) = np.random.default_rng(0), module.image_size
    for index in range(2 * FEWEST_IMAGES):
        pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{index}.png", compress_level=0)
    few = QuantizeOptions(images=FEWEST_IMAGES, held_out=FEWEST_IMAGES, least_cosine=0, batch_size=4)
    quantize(weights, photos, written, few)
    return written


def _torch(network: Network, memory_format: torch.memory_format) -> Run:
    def run(images: NDArray[np.float32]) -> object:
        network.use_memory_format(memory_format)
        with torch.inference_mode():
            return network(torch.from_numpy(images))

    return run


def peers(model: str, size: int, folder: Path, threads: int | None) -> dict[str, Run]:
    """Return timm's ways that this machine can run; print the reason for others."""
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
    runs["timm export, OpenVINO"] = openvino_file(file, threads)
    with _skipping("timm export, ONNX Runtime"):
        runs["timm export, ONNX Runtime"] = _onnxruntime(file, threads)
    runs["timm eager, NHWC"] = _timm(network, torch.channels_last)
    half = copy.deepcopy(network).to(torch.bfloat16)
    runs["timm eager, NHWC, bfloat16"] = _timm(half, torch.channels_last, torch.bfloat16)
    with _skipping("timm compiled"):
        runs["timm compiled, frozen"] = _timm(_frozen(network), torch.contiguous_format)
        runs["timm compiled, frozen, bfloat16"] = _timm(_frozen(half), torch.channels_last, torch.bfloat16)
    return runs


def _frozen(network: torch.nn.Module) -> Callable[[torch.Tensor], object]:
    """Return the network compiled with its weights as constants, which the compiler can fold and reorder.

    The first call compiles and reads `freezing`, which has an effect only without gradients, as in `_timm`.
    """
    import torch._inductor.config

    torch._inductor.config.freezing = True
    return torch.compile(network, dynamic=False)


@contextmanager
def _skipping(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        print(f"skipped {name}: {error}")


def _nchw(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2) * 2 - 1)


def _timm(
    network: Callable[[torch.Tensor], object],
    memory_format: torch.memory_format,
    dtype: torch.dtype = torch.float32,
) -> Run:
    def run(images: NDArray[np.float32]) -> object:
        with torch.no_grad():
            return network(torch.from_numpy(_nchw(images)).to(dtype).contiguous(memory_format=memory_format))

    return run


def openvino_file(file: Path, threads: int | None) -> Run:
    """Return a run of an ONNX file on OpenVINO in float32."""
    import openvino

    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    options |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
    compiled = openvino.Core().compile_model(file, "CPU", options)
    return lambda images: compiled(_nchw(images))


def _onnxruntime(file: Path, threads: int | None) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: _nchw(images)})


def main() -> None:
    """Time all ways, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_large")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--onnx", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    plan = resolve(find(options.model).spec)
    height, width = plan.spec.image_size
    if threads := options.threads:
        torch.set_num_threads(threads)
    with TemporaryDirectory() as folder:
        runs = ours(options.model, plan, Path(folder), threads) | peers(options.model, height, Path(folder), threads)
        runs |= {f"{file.name}, OpenVINO": openvino_file(file, threads) for file in options.onnx}
        for batch in options.batch:
            images = np.random.default_rng(0).random((batch, height, width, 3), np.float32)
            seconds = in_turn(runs, images, options.rounds)
            print(f"{options.model} at {height}x{width}, batch {batch}, {machine()}")
            for name, value in seconds.items():
                rate = plan.mult_adds * 2 / value / 1e9
                print(f"{name:32} {value:9.5f} s/image {seconds[BASE] / value:6.2f} x {rate:7.1f} GFLOP/s", flush=True)


if __name__ == "__main__":
    main()
