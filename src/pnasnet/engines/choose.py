"""Create an engine by its name."""

import logging
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError
from ..support.arguments import checked
from ..support.system import processor_quota
from .base import Engine, Job
from .fake import FakeEngine
from .options import EngineOptions

log = logging.getLogger(__name__)


@checked
def create(job: Job) -> Engine:
    """Return an engine that is ready to run.

    Raises:
        UnknownNameError: unknown device.
        InputError: a quantized model on another engine than OpenVINO, or a precision that the engine or the device does
            not support.
        MissingExtraError: the engine's library is not installed.
        PnasnetError: the engine cannot load the network.

    Example:
        >>> import numpy as np
        >>> from pnasnet import Module
        >>> from pnasnet.engines import Job, create
        >>> model = Module("pnasnet_tiny").model
        >>> with create(Job(model.plan, model.arrays, outputs=("Logits",))) as engine:
        ...     engine.run(np.zeros((1, 32, 32, 3), np.float32))["Logits"].shape
        (1, 10)
    """
    options = job.options
    if options.engine == "auto":
        options = replace(options, engine="openvino" if job.graph else _automatic(options))
    if job.graph and options.engine == "torch":
        raise InputError(
            "a quantized model runs on OpenVINO only: leave out the engine, or use the model it was made from"
        )
    precision = options.precision or ("int8" if job.graph else "float32")
    job = replace(job, options=replace(options, precision=precision, threads=options.threads or processor_quota()))
    match options.engine:
        case "openvino":
            from .openvino_engine import OpenVINOEngine

            return OpenVINOEngine(job)
        case "torch":
            from .torch_engine import TorchEngine

            return TorchEngine(job)
        case _:
            return FakeEngine(job)


def _automatic(options: EngineOptions) -> str:
    """Return the fastest engine for the device of `options`, or for this machine, and log why."""
    device = options.device
    if device and device.lower().startswith("cuda"):
        name, reason = "torch", f"the device is {device}"
    elif device is None and _has_cuda():
        name, reason = "torch", "there is a CUDA device"
    elif options.precision == "float16":
        name, reason = "torch", "OpenVINO has no float16 on CPUs"
    elif find_spec("openvino"):
        name, reason = "openvino", "it is the fastest on CPUs"
    else:
        name, reason = "torch", "openvino is not installed"
    log.info("engine %s: %s", name, reason)
    return name


def _has_cuda() -> bool:
    """Return whether torch has a CUDA device. Importing torch takes seconds, so this looks for a driver first."""
    has_driver = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")
    if not has_driver or not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()
