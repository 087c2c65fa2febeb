"""From the name of an engine to one that is ready to run."""

import logging
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ..architecture.plan import Plan
from ..errors import UnknownNameError
from .base import Engine, Job, Weights
from .fake import FakeEngine

log = logging.getLogger(__name__)


def _openvino(job: Job) -> Engine:
    from .openvino_engine import OpenVINOEngine

    return OpenVINOEngine(job)


def _torch(job: Job) -> Engine:
    from .torch_engine import TorchEngine

    return TorchEngine(job)


_ENGINES: dict[str, Callable[[Job], Engine]] = {"openvino": _openvino, "torch": _torch, "fake": FakeEngine}

ENGINES = ("auto", *_ENGINES)
"""What `create` may be asked for."""


def create(
    name: str,
    plan: Plan,
    weights: Callable[[], Weights],
    *,
    weights_checksum: str | None = None,
    outputs: Sequence[str] = ("global_pool",),
    precision: str = "float32",
    device: str | None = None,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Engine:
    """Return an engine that runs the network of `plan`.

    Args:
        name: `openvino`, `torch`, `fake` (for tests), or `auto`: torch where there is a CUDA device, else OpenVINO,
            else torch; the log (level INFO) says which and why.
        plan: the network.
        weights: gives TF-Slim's variable names to arrays in TensorFlow's layout; called only if nothing usable is
            cached.
        weights_checksum: what identifies the weights in the cache; None caches nothing.
        outputs: names from `plan.endpoints()`.
        precision: `float32` or `bfloat16`.
        device: where to run, in the engine's terms (`CPU`, `cuda:1`); None for the engine's choice.
        threads: threads of the CPU; None for one per core.
        cache_dir: where compiled models are kept; None for `pnasnet.paths.cache_dir()`.

    Raises:
        UnknownNameError: no such engine, endpoint, precision or device.
        InputError: `threads` below 1.
        MissingExtraError: the engine's library is not installed.
        PnasnetError: the engine cannot load the network.

    """
    if name not in ENGINES:
        raise UnknownNameError.of("engine", name, [each for each in ENGINES if each != "fake"])
    job = Job(plan, weights, weights_checksum, tuple(outputs), precision, device, threads, cache_dir)
    return _ENGINES[_automatic(device) if name == "auto" else name](job)


def _automatic(device: str | None) -> str:
    """Return the fastest engine for `device`, or for this machine, and log why."""
    if device and device.lower().startswith("cuda"):
        name, reason = "torch", f"it runs on {device}"
    elif device is None and _has_cuda():
        name, reason = "torch", "there is a CUDA device"
    elif find_spec("openvino"):
        name, reason = "openvino", "it is the fastest on CPUs"
    else:
        name, reason = "torch", "openvino is not installed"
    log.info("engine %s: %s", name, reason)
    return name


def _has_cuda() -> bool:
    """Say whether torch has a CUDA device; torch, which takes seconds to import, is asked only where it may have."""
    has_driver = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")
    if not has_driver or not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()
