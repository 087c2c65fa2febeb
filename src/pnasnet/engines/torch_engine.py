"""torch as an engine: on a CUDA device if there is one, else on the CPU."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, MissingExtraError, PnasnetError, UnknownNameError
from ..support.contexts import contextmanager
from ..support.text import counted
from .base import Engine, Floats, Job, library_errors

if TYPE_CHECKING:
    import torch

    from .cards import Card, TensorOutputs

log = logging.getLogger(__name__)


class TorchEngine(Engine):
    """Runs the torch network on any torch device: `cpu`, `cuda`, `cuda:1`, ...

    Batch normalization is folded into the kernels. On a GPU, 1x1 convolutions of the same map are merged, each batch
    is copied while the previous one is computed, and recorded graphs are launched (`engines.cards`).

    The number of threads is torch's setting and holds for the whole process. Raises `MissingExtraError` without torch,
    `UnknownNameError` for an unknown device, and `InputError` for a precision that the device does not have.
    """

    name = "torch"

    def __init__(self, job: Job, card: "Card | None" = None) -> None:
        """Load the network. `card` controls the device; None for CUDA's on a CUDA device, and for none on the CPU."""
        super().__init__(job)
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError.of("torch", "torch", "the torch engine") from error
        from ..lowering.torch_inference import inference_network

        if job.options.threads:
            torch.set_num_threads(job.options.threads)
        self._device = _device(job.options.device)
        self._precision = job.options.precision or "float32"
        _check_precision(self._device, self._precision)
        self._card = card or _card(self._device)
        dtype = getattr(torch, self._precision)
        with _torch_errors("load the network"):
            network = inference_network(job.plan, job.read_weights(), dtype, merge=self._card is not None)
            self._network: Any = network.to(self._device)
        if self._card:
            from .cards import LANES, Replay, Staging

            self.concurrency = LANES
            self._staging, self._replay = Staging(self._card), Replay(self._forward, self._card)
        is_cpu = self._device.type == "cpu"
        threads = counted(torch.get_num_threads(), "thread")
        place = f"CPU, {threads}" if is_cpu else torch.cuda.get_device_name(self._device)
        self.description = f"torch {torch.__version__}, {place}, {self._precision}"

    @contextmanager
    def _prepared(self, images: Floats) -> Iterator[Any]:
        """Yield the images as a tensor, or on a GPU as a batch that is being copied there."""
        import torch

        if self._card is None:
            yield torch.from_numpy(images)
            return
        action = f"copy {counted(len(images), 'image')} to the device"
        with torch.inference_mode(), _torch_errors(action), self._staging.staged(images) as staged:
            yield staged

    def _run(self, images: Any) -> dict[str, Floats]:
        import torch

        count = len(images if self._card is None else images.images)
        # TensorFloat-32 has a mantissa of 10 bits, too few for float32. Kernels chosen by measuring are faster, but
        # differ from run to run.
        settings = torch.backends.cudnn.flags(enabled=True, benchmark=self._precision != "float32", allow_tf32=False)
        with torch.inference_mode(), settings, _torch_errors(f"run {counted(count, 'image')}"):
            if self._card is None:
                found = self._forward(images.to(self._device))
            else:
                images.wait()
                found = self._replay(images.images)
            # Copied even from the CPU, because the next batch overwrites them.
            outputs = {name: value.to("cpu", torch.float32, copy=True).numpy() for name, value in found.items()}
        self._check_range(outputs)
        return outputs

    def _forward(self, images: "torch.Tensor") -> "TensorOutputs":
        return self._network(images, self.outputs)  # type: ignore[no-any-return]

    def _check_range(self, outputs: dict[str, Floats]) -> None:
        """Raise `PnasnetError` if float16, whose largest number is 65504, has overflowed."""
        if self._precision == "float16" and not all(np.isfinite(value).all() for value in outputs.values()):
            raise PnasnetError("the network exceeds the range of float16 on these images: use bfloat16 or float32")

    def _free_memory(self) -> None:
        if self._card:
            self._replay.clear()
            self._card.free()

    def _release(self) -> None:
        del self._network
        if self._card:
            self._staging.clear()
            self._free_memory()


def _device(wanted: str | None) -> "torch.device":
    import torch

    known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if wanted is None:
        return torch.device(known[1] if len(known) > 1 else "cpu")
    name = "cuda:0" if wanted.lower() == "cuda" else wanted.lower()
    if name not in known:
        raise UnknownNameError.of("torch device", wanted, known)
    return torch.device(name)


def _card(device: "torch.device") -> "Card | None":
    if device.type != "cuda":
        return None
    from .cuda_card import CudaCard

    return CudaCard(device)


def _check_precision(device: "torch.device", precision: str) -> None:
    """Raise `InputError` if the device does not have the precision; warn if it is slow there."""
    import torch

    if device.type == "cpu":
        if precision == "float16":
            log.warning("float16 is slow on a CPU: use bfloat16 or float32")
        return
    needed = {"bfloat16": (8, 0), "float16": (5, 3)}.get(precision, (0, 0))
    found = torch.cuda.get_device_capability(device)
    if found < needed:
        usable = "float16 or float32" if found >= (5, 3) else "float32"
        name = torch.cuda.get_device_name(device)
        raise InputError(
            f"{name} has no {precision}, which needs compute capability {'.'.join(map(str, needed))}: use {usable}"
        )


def _torch_errors(action: str) -> AbstractContextManager[None]:
    return library_errors("torch", action, lambda error: str(error).partition("\n")[0])
