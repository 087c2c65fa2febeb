"""The ways that benchmarks/gpu.py measures: the torch engine, this package's network made faster, and timm's."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pnasnet.architecture.layers import BatchNorm, Conv, FactorizedReduction, Layer, SeparableConv
from pnasnet.architecture.plan import CellPlan, Plan, resolve
from pnasnet.architecture.zoo import find
from pnasnet.engines import EngineOptions, Job, create
from pnasnet.lowering.torch_network import Network

from common import random_weights

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the golden photos and outputs, which are the tests'
from tests.helpers import golden_weights as golden

Floats = NDArray[np.float32]
Run = Callable[[], Any]
TINY = "pnasnet_mobile, tiny"
"""The network of a dry run."""
TIMM_NAMES = {"pnasnet_large": "pnasnet5large", "nasnet_large": "nasnetalarge", TINY: "resnet10t"}
FEATURES = "global_pool"
COMPILED_TIMM = "timm compiled, bfloat16"


class UnavailableError(Exception):
    """A way that this machine or timm does not have; the message is printed in place of figures."""


@dataclass(frozen=True)
class Settings:
    """Where and how to measure."""

    device: torch.device
    dry_run: bool = False
    mode: str = "reduce-overhead"
    rounds: int = 5
    seconds: float = 0.3
    """Least duration of a round."""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def compiled(self, network: nn.Module) -> Callable[..., Any]:
        """Return the compiled network. A dry run traces it without generating code, which would take minutes."""
        if self.dry_run:
            return torch.compile(network, dynamic=False, backend="eager")
        return torch.compile(network, dynamic=False, mode=self.mode)


@dataclass(frozen=True)
class Way:
    """One way to compute features. `prepare` gets a batch and returns the run that is timed."""

    name: str
    dtype: torch.dtype
    prepare: Callable[[Floats], Run]
    reference: Callable[[], Floats]
    """Returns the float32 features of the photos."""


@dataclass(frozen=True)
class Subject:
    """A network, its weights, and photos with their float32 features."""

    model: str
    plan: Plan
    weights: dict[str, Floats]
    photos: Floats
    features: Floats
    source: str
    """Origin of the float32 features."""


def subject(model: str, settings: Settings) -> Subject:
    """Return a network with TensorFlow's outputs where the tests have them, else with random kernels and torch's."""
    if model == TINY:
        spec = find("pnasnet_mobile").spec
        spec = replace(spec, num_cells=1, reductions=1, filters=8, image_size=(32, 32), num_classes=None)
    else:
        spec = find(model).spec
    plan, photos = resolve(spec), golden.images(spec.image_size[0])
    if model in golden.SPECS:
        features = golden.load(model)[f"endpoint/{FEATURES}"].astype(np.float32)
        return Subject(model, plan, golden.weights(model), photos, features, "TensorFlow's float32")
    weights = random_weights(plan)
    with create(Job(plan, lambda: weights, EngineOptions("torch", device=str(settings.device)))) as engine:
        features = engine.run(photos)[FEATURES]
    return Subject(model, plan, weights, photos, features, "the torch engine's float32, random kernels")


def to_numpy(features: Any) -> Floats:
    """Return features as a float32 array, which waits for the device."""
    return features.float().cpu().numpy() if isinstance(features, Tensor) else np.asarray(features)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).splitlines() or [type(error).__name__])[0]


# Ours.


def fold_batch_norm(network: Network) -> None:
    """Multiply batch normalization into the convolutions before it, in place, for inference."""
    plan = network.plan
    for layers in (plan.stem, *(layers for cell in plan.cells for layers in _sequences(cell))):
        for layer, norm in pairwise(layers):
            if isinstance(norm, BatchNorm):
                _fold(network, layer, norm)
    if left := [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]:
        raise RuntimeError(f"batch normalization that follows no convolution: {', '.join(left)}")


def _sequences(cell: CellPlan) -> Iterator[tuple[Layer, ...]]:
    yield from cell.entry
    yield from (branch.layers for block in cell.blocks for branch in (block.left, block.right))
    yield from (branch.layers for branch in cell.concat)


def _fold(network: Network, layer: Layer, norm: BatchNorm) -> None:
    match layer:
        case Conv():
            scopes = [layer.scope]
        case SeparableConv():
            scopes = [f"{layer.scope}/pointwise"]
        case FactorizedReduction():
            scopes = [f"{layer.scope}/path{i}_conv" for i in (1, 2)]
        case _:
            return
    path = norm.scope.replace("/", ".")
    module: Any = network.get_submodule(path)
    convs: list[Any] = [network.get_submodule(scope.strip("/").replace("/", ".")) for scope in scopes]
    start = 0
    for conv in convs:
        part = slice(start, start + conv.out_channels)
        mean, variance, scale, offset = (
            x.detach()[part] for x in (module.running_mean, module.running_var, module.weight, module.bias)
        )
        kernel = conv.weight.detach()
        conv.weight, conv.bias = fuse_conv_bn_weights(kernel, None, mean, variance, module.eps, scale, offset)
        start = part.stop
    network.set_submodule(path, nn.Identity())


class _Cast(nn.Module):
    """Rounds the scaled images to the precision of the kernels."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self._dtype)


def folded(given: Subject, dtype: torch.dtype, device: torch.device) -> Network:
    """Return the network in inference mode, channels last, folded in float32 and then rounded to `dtype`."""
    network = Network(given.plan).eval().requires_grad_(False)
    network.load_variables(given.weights)
    fold_batch_norm(network)
    network.to(device, dtype).use_memory_format(torch.channels_last)
    first = given.plan.stem[0]
    if not isinstance(first, Conv):
        raise TypeError(f"the stem begins with {first}, not with a convolution")
    path = first.scope.replace("/", ".")
    network.set_submodule(path, nn.Sequential(_Cast(dtype), network.get_submodule(path)))
    return network


def ours(given: Subject, settings: Settings) -> Iterator[Way]:
    """Yield our ways: the engine as it is, and the folded network."""

    def way(name: str, dtype: torch.dtype, prepare: Callable[[Floats], Run]) -> Way:
        return Way(f"{name}, {str(dtype).removeprefix('torch.')}", dtype, prepare, lambda: given.features)

    yield way("engine", torch.float32, partial(_engine, given, settings, "float32"))
    yield way("engine", torch.bfloat16, partial(_engine, given, settings, "bfloat16"))
    for dtype in (torch.bfloat16, torch.float16):
        yield way("ours eager", dtype, partial(_eager, given, settings, dtype))
        yield way("ours CUDA graph", dtype, partial(_graphed, given, settings, dtype))
        yield way("ours compiled", dtype, partial(_eager, given, settings, dtype, compiled=True))


def _engine(given: Subject, settings: Settings, precision: str, images: Floats) -> Run:
    options = EngineOptions("torch", precision, device=str(settings.device))
    engine = create(Job(given.plan, lambda: given.weights, options))
    return lambda: engine.run(images)[FEATURES]


def _eager(given: Subject, settings: Settings, dtype: torch.dtype, images: Floats, *, compiled: bool = False) -> Run:
    network: Any = folded(given, dtype, settings.device)
    network = settings.compiled(network) if compiled else network
    batch = torch.from_numpy(images).to(settings.device)
    return lambda: network(batch)[FEATURES]


def _graphed(given: Subject, settings: Settings, dtype: torch.dtype, images: Floats) -> Run:
    """Return a replay of one recorded run: the processor then launches one graph instead of each kernel."""
    if not settings.on_gpu:
        raise UnavailableError("CUDA graphs require a GPU")
    run = _eager(given, settings, dtype, images)
    side: Any = torch.cuda.Stream(settings.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(settings.device))
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream(settings.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()
    return _Graph(graph, output, run)


@dataclass(frozen=True)
class _Graph:
    """A recorded run. It holds what was recorded, because a replay reads kernels and images where they were."""

    graph: Any
    output: Tensor
    recorded: Run

    def __call__(self) -> Tensor:
        self.graph.replay()
        return self.output


# timm.


class Timm:
    """timm's network of the same name, with random weights, and its float32 features of the photos."""

    def __init__(self, given: Subject, settings: Settings) -> None:
        self._given, self._settings = given, settings
        self._network: Any = None
        self._features: Floats | None = None

    def ways(self) -> Iterator[Way]:
        """Yield timm eager and compiled, in bfloat16, channels last."""
        yield Way("timm eager, bfloat16", torch.bfloat16, self._prepare, self.features)
        yield Way(COMPILED_TIMM, torch.bfloat16, partial(self._prepare, compiled=True), self.features)

    def _made(self) -> Any:
        if self._network is None:
            if self._given.model not in TIMM_NAMES:
                raise UnavailableError(f"timm has no {self._given.model}")
            try:
                import timm
            except ModuleNotFoundError as error:
                missing = error.name or "timm"
                raise UnavailableError(f"{missing} is not installed") from error
            except Exception as error:  # a torchvision of another torch raises more than ImportError
                raise UnavailableError(f"timm cannot be imported: {first_line(error)}") from error
            torch.manual_seed(0)
            self._network = timm.create_model(TIMM_NAMES[self._given.model], num_classes=0).eval().requires_grad_(False)
        return self._network

    def _batch(self, images: Floats, dtype: torch.dtype) -> Tensor:
        scaled = torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1
        return scaled.to(self._settings.device, dtype, memory_format=torch.channels_last)

    def _prepare(self, images: Floats, *, compiled: bool = False) -> Run:
        network = copy.deepcopy(self._made())
        network = network.to(self._settings.device, torch.bfloat16, memory_format=torch.channels_last)
        network = self._settings.compiled(network) if compiled else network
        batch = self._batch(images, torch.bfloat16)
        return lambda: network(batch)

    def features(self) -> Floats:
        """Return the float32 features of the photos."""
        if self._features is None:
            network = copy.deepcopy(self._made()).to(self._settings.device)
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                self._features = to_numpy(network(self._batch(self._given.photos, torch.float32)))
        return self._features
