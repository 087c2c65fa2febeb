"""Speed of a training step compared with a plain one, and peak memory with and without recomputed cells.

Command:  python benchmarks/training.py [--model pnasnet_tiny] [--batch 64] [--rounds 5]
Needs:    the train extra.
Method:   the same network, loss and optimizer run in turn in one process. "Plain" is eager float32 in torch's default
          memory format, without shared layers. Memory is the peak of a separate process that takes two steps, less the
          peak of one that only creates the network and the images.
Result:   see docs/benchmarks.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.lowering.torch_cells import Cell, State
from pnasnet.lowering.torch_layers import Slot, run
from pnasnet.lowering.torch_network import Network
from pnasnet.training.optimizers import make_optimizer
from pnasnet.training.parameters import parameter_groups
from pnasnet.training.recipe import Sgd

from common import Run, in_turn, machine

PLAIN = "plain: float32, NCHW"


class PlainNetwork(Network):
    """The network in its simplest form: each branch of a cell runs all its layers; nothing is shared."""

    def _run_cell(self, slot: Slot, current: State, previous: State) -> Tensor:
        cell = slot.module
        assert isinstance(cell, Cell)
        inputs = zip((current, previous), cell._entry, strict=True)
        values = [run(steps, state.value) for state, steps in inputs]
        for block, both in zip(cell.plan.blocks, cell._blocks, strict=True):
            branches = zip((block.left, block.right), both, strict=True)
            paths = [cell.path(*branch, _alone(values), self.drop_path_progress) for branch in branches]
            values.append(paths[0] + paths[1])
        outputs = zip(cell.plan.concat, cell._concat, strict=True)
        return torch.cat([run(steps, values[branch.source]) for branch, steps in outputs], 1)


def _alone(values: list[Tensor]) -> list[State]:
    """Return states with nothing to share."""
    return [State(value) for value in values]


class TrainingStep:
    """A training step like those of `pnasnet train`: cross entropy, L2 terms, clipping, SGD with momentum."""

    def __init__(
        self,
        model: str,
        memory_format: torch.memory_format = torch.channels_last,
        *,
        kind: type[Network] = Network,
        bfloat16: bool = False,
        compiled: bool = False,
    ) -> None:
        """Create a network with random weights."""
        torch.manual_seed(0)
        spec = find(model).spec
        self.network = kind(resolve(spec), aux_head=spec.aux_head).train()
        self.network.use_memory_format(memory_format)
        self._optimizer = make_optimizer(Sgd(), parameter_groups(self.network, 0.01))
        self._bfloat16 = bfloat16
        self._run = torch.compile(self.network) if compiled else self.network

    def __call__(self, images: NDArray[np.float32]) -> None:
        """Take a step."""
        labels = torch.arange(len(images)) % (self.network.plan.spec.num_classes or 1)
        names = ("Logits", "AuxLogits") if self.network.has_aux_head else ("Logits",)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            outputs = self._run(torch.from_numpy(images), names)
        losses = [functional.cross_entropy(outputs[name].float(), labels) for name in names]
        self._backward(torch.stack(losses).sum())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._optimizer.step()

    def _backward(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.network.add_regularization_gradients()


class PlainStep(TrainingStep):
    """The same step in its simplest form: `PlainNetwork`, torch's own optimizer, the L2 terms in the loss."""

    def __init__(self, model: str) -> None:
        """Create a network with random weights."""
        super().__init__(model, torch.contiguous_format, kind=PlainNetwork)
        self._optimizer = torch.optim.SGD(self.network.parameters(), 0.01, momentum=0.9, nesterov=True)

    def _backward(self, loss: Tensor) -> None:
        total = loss + self.network.regularization_loss()
        self._optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]


def peak_megabytes(model: str, batch: int, mode: str) -> int:
    """Return the peak memory of a process that takes two steps (`stored`, `recomputed`) or none (`none`)."""
    command = [sys.executable, __file__, "--model", model, "--batch", str(batch), "--memory", mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def take_steps(model: str, images: NDArray[np.float32], mode: str) -> int:
    """Take the steps of `peak_megabytes` in this process, and return its peak memory in megabytes."""
    step = TrainingStep(model)
    step.network.checkpoint_cells = mode == "recomputed"
    for _ in range(0 if mode == "none" else 2):
        step(images)
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main() -> None:
    """Print the speed and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also time torch.compile, which compiles for minutes")
    parser.add_argument("--memory", choices=["none", "stored", "recomputed"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    plan = resolve(find(options.model).spec)
    images = np.random.default_rng(0).random((options.batch, *plan.spec.image_size, 3), np.float32)
    if options.memory:
        print(take_steps(options.model, images, options.memory))
        return
    runs: dict[str, Run] = {
        PLAIN: PlainStep(options.model),
        "pnasnet: channels last": TrainingStep(options.model),
        "channels last, bfloat16": TrainingStep(options.model, bfloat16=True),
    }
    if options.compile:
        runs["channels last, compiled"] = TrainingStep(options.model, compiled=True)
    seconds = in_turn(runs, images, options.rounds)
    print(f"{options.model}, batches of {options.batch}, {machine()}; torch {torch.__version__}")
    for name, value in seconds.items():
        rate = 6 * plan.mult_adds / value / 1e9  # forward, and twice that backward
        print(f"{name:26} {1 / value:8.1f} images/s {seconds[PLAIN] / value:6.2f} x {rate:7.1f} GFLOP/s")
    base, stored, recomputed = (
        peak_megabytes(options.model, options.batch, mode) for mode in ("none", "stored", "recomputed")
    )
    print(f"peak memory of a step: {stored - base} MB, with recomputed cells {recomputed - base} MB; without {base} MB")


if __name__ == "__main__":
    main()
