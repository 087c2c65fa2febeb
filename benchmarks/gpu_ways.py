"""The ways to run a network that benchmarks/gpu.py measures: the torch engine, its network alone, and timm's."""

import copy
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.zoo import find
from pnasnet.engines import EngineOptions, Job, create
from pnasnet.engines.cards import Card, Replay
from pnasnet.lowering.torch_inference import inference_network
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
ENGINE_AHEAD = "engine ahead"
IN_TURN = 8
"""Batches in a run of `engine ahead`."""


class UnavailableError(Exception):
    """A way that this machine or timm does not support; the message is printed instead of figures."""


@dataclass(frozen=True)
class Settings:
    """The device, and how to measure."""

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

    def card(self) -> Card:
        """Return the recorder of graphs on the device. Raises `UnavailableError` on a CPU."""
        if not self.on_gpu:
            raise UnavailableError("CUDA graphs require a GPU")
        from pnasnet.engines.cuda_card import CudaCard

        return CudaCard(self.device)

    def compiled(self, network: nn.Module) -> Callable[..., Any]:
        """Return the compiled network. A dry run traces it without generating code, which would take minutes."""
        if self.dry_run:
            return torch.compile(network, dynamic=False, backend="eager")
        return torch.compile(network, dynamic=False, mode=self.mode)


@dataclass(frozen=True)
class Way:
    """One way to compute features. `prepare` accepts a batch and returns the run to time."""

    name: str
    dtype: torch.dtype
    prepare: Callable[[Floats], Run]
    reference: Callable[[], Floats]
    """Returns the float32 features of the photos."""
    batches: int = 1
    """Number of batches that one run computes."""


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
    """Return a network with TensorFlow's outputs if the tests have them, else with random kernels and torch's."""
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


def ours(given: Subject, settings: Settings) -> Iterator[Way]:
    """Yield our ways: the engine, and the network that it runs without the engine around it."""

    def way(name: str, dtype: torch.dtype, prepare: Callable[..., Run], batches: int = 1, **options: Any) -> Way:
        run = partial(prepare, given, settings, dtype, **options)
        return Way(f"{name}, {precision_of(dtype)}", dtype, run, lambda: given.features, batches)

    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        yield way("engine", dtype, _engine)
        yield way(ENGINE_AHEAD, dtype, _engine_ahead, IN_TURN)
    for dtype in (torch.bfloat16, torch.float16):
        yield way("ours eager", dtype, _eager)
        yield way("ours CUDA graph", dtype, _graphed)
        yield way("ours CUDA graph, unmerged", dtype, _graphed, merge=False)
        for kernel in ("cudnn", "native"):
            yield way(f"ours CUDA graph, {kernel} depthwise", dtype, _graphed, depthwise=kernel)
        yield way("ours compiled", dtype, _eager, compiled=True)


def precision_of(dtype: torch.dtype) -> str:
    """Return the name of a precision."""
    return str(dtype).removeprefix("torch.")


def _engine(given: Subject, settings: Settings, dtype: torch.dtype, images: Floats) -> Run:
    options = EngineOptions("torch", precision_of(dtype), device=str(settings.device))
    engine = create(Job(given.plan, lambda: given.weights, options))
    return lambda: engine.run(images)[FEATURES]


def _engine_ahead(given: Subject, settings: Settings, dtype: torch.dtype, images: Floats) -> Run:
    """Return a run of several batches, two at a time, for which the engine is designed."""
    run = _engine(given, settings, dtype, images)
    pool = ThreadPoolExecutor(2)

    def run_batches() -> Floats:
        return list(pool.map(lambda _: run(), range(IN_TURN)))[-1]  # type: ignore[no-any-return]

    return run_batches


def _network(given: Subject, settings: Settings, dtype: torch.dtype, *, merge: bool = True) -> Network:
    return inference_network(given.plan, given.weights, dtype, merge=merge).to(settings.device)


def _eager(given: Subject, settings: Settings, dtype: torch.dtype, images: Floats, *, compiled: bool = False) -> Run:
    network: Any = _network(given, settings, dtype)
    network = settings.compiled(network) if compiled else network
    batch = torch.from_numpy(images).to(settings.device)
    return lambda: network(batch)[FEATURES]


def _graphed(
    given: Subject,
    settings: Settings,
    dtype: torch.dtype,
    images: Floats,
    *,
    merge: bool = True,
    depthwise: str | None = None,
) -> Run:
    """Return a run like the engine's on a GPU, which records the second batch and then launches it as one graph.

    `depthwise` names the depthwise kernels, instead of torch's choice: cuDNN's, or torch's own.
    """
    if depthwise and not hasattr(torch.backends.cudnn, "depthwise_kernel"):
        raise UnavailableError("this version of torch cannot choose depthwise kernels")
    network = _network(given, settings, dtype, merge=merge)
    replay = Replay(lambda batch: network(batch), settings.card())
    batch = torch.from_numpy(images).to(settings.device)

    def run() -> Tensor:
        kernels = {"depthwise_kernel": depthwise} if depthwise else {}
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, **kernels):
            return replay(batch)[FEATURES]

    return run


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
