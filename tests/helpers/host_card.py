"""A stand-in for a GPU on the CPU: everything that a GPU does later happens later here, too."""

from collections.abc import Callable

import torch
from torch import Tensor

from pnasnet.engines.cards import TensorOutputs


class HostCard:
    """Copies when the computation waits for them, and computes a recorded graph only when it is launched.

    Attributes:
        pending: number of copies that were started and not waited for.
        recorded, launched: numbers of graphs recorded and launched.
        freed: how often memory was freed.
    """

    def __init__(self, *, records: bool = True) -> None:
        """`records`: whether graphs can be recorded."""
        self.pending = self.recorded = self.launched = self.freed = 0
        self._records = records

    def buffers(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return memory that holds no numbers yet."""
        return torch.full(shape, torch.nan), torch.full(shape, torch.nan)

    def copy(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        """Return the function that copies."""
        self.pending += 1

        def wait() -> None:
            target.copy_(source)
            self.pending -= 1

        return wait

    def record(self, run: Callable[[], TensorOutputs]) -> tuple[Callable[[], None], TensorOutputs]:
        """Find the shapes of the outputs; nothing is computed before the launch."""
        if not self._records:
            raise RuntimeError("operation not permitted when stream is capturing\nand a long trace")
        outputs = {name: torch.full_like(value, torch.nan) for name, value in run().items()}
        self.recorded += 1

        def launch() -> None:
            self.launched += 1
            for name, value in run().items():
                outputs[name].copy_(value)

        return launch, outputs

    def free(self) -> None:
        """Count."""
        self.freed += 1
