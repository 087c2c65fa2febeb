"""torch as an engine: on a CUDA device if there is one, else on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import MissingExtraError, OutOfMemoryError, PnasnetError, UnknownNameError
from ..support.text import counted
from .base import Engine, Floats, Job

if TYPE_CHECKING:
    import torch


class TorchEngine(Engine):
    """Runs the torch network on any torch device: `cpu`, `cuda`, `cuda:1`, ...

    The number of threads is torch's setting and holds for the whole process. Raises `MissingExtraError` without torch,
    and `UnknownNameError` for an unknown device.
    """

    name = "torch"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError.of("torch", "torch", "the torch engine") from error
        from ..lowering.torch_network import Network

        if job.options.threads:
            torch.set_num_threads(job.options.threads)
        self._device = _device(job.options.device)
        self._bfloat16 = job.options.precision == "bfloat16"
        network = Network(job.plan)
        network.load_variables(job.read_weights())
        with _torch_errors("load the network"):
            network = network.eval().to(self._device)
            self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        is_cpu = self._device.type == "cpu"
        threads = counted(torch.get_num_threads(), "thread")
        place = f"CPU, {threads}" if is_cpu else torch.cuda.get_device_name(self._device)
        self.description = f"torch {torch.__version__}, {place}, {job.options.precision}"

    def _run(self, images: Floats) -> dict[str, Floats]:
        import torch

        # TensorFloat-32 has a mantissa of 10 bits: that is not float32.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16)
        with torch.inference_mode(), exact, autocast, _torch_errors(f"run {len(images)} images"):
            outputs = self._network(torch.from_numpy(images).to(self._device), self.outputs)
            return {name: value.float().cpu().numpy() for name, value in outputs.items()}

    def _release(self) -> None:
        del self._network


def _device(wanted: str | None) -> "torch.device":
    import torch

    known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if wanted is None:
        return torch.device(known[1] if len(known) > 1 else "cpu")
    name = "cuda:0" if wanted.lower() == "cuda" else wanted.lower()
    if name not in known:
        raise UnknownNameError.of("torch device", wanted, known)
    return torch.device(name)


@contextmanager
def _torch_errors(action: str) -> Iterator[None]:
    """Turn torch's errors into one line: the first line of its message states the cause."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"not enough memory on the device to {action}; use a smaller batch") from error
    except RuntimeError as error:
        raise PnasnetError(f"torch cannot {action}: {str(error).splitlines()[0]}") from error
