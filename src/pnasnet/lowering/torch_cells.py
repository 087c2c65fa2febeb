"""Runs a cell of a plan in torch, and recomputes it in the backward pass if memory is short."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..architecture.plan import Branch, CellPlan
from ..support.contexts import contextmanager
from .torch_layers import LayerBuilder, LayerStep, Slot, has_parameters, run


class State:
    """A map that several branches read. Equal first steps without parameters are computed once for all of them.

    These are mostly the map's ReLU and, in reducing cells, its padding. Sharing them saves time, and the memory that
    the backward pass would need for each copy.
    """

    def __init__(self, value: Tensor) -> None:
        """Hold `value` [batch, channels, height, width], which no step may overwrite."""
        self.value = value
        self._after: dict[LayerStep, State] = {}

    def through(self, steps: tuple[LayerStep, ...]) -> Tensor:
        """Return the result of the steps, [batch, channels, height, width]."""
        state = self
        for index, step in enumerate(steps):
            if has_parameters(step):
                return run(steps[index:], state.value)
            if step not in state._after:
                state._after[step] = State(step(state.value))
            state = state._after[step]
        return state.value


class Cell(nn.Module):
    """One cell of a network. Its modules are registered below it by the builder, under TF-Slim's scopes."""

    def __init__(self, plan: CellPlan) -> None:
        super().__init__()
        self.plan = plan

    def build(self, builder: LayerBuilder) -> None:
        """Make the steps of the cell's branches. Called after the cell itself is registered."""
        plan = self.plan
        self._entry = (builder.steps(plan.entry[0]), builder.steps(plan.entry[1]))
        self._blocks = [(builder.steps(block.left.layers), builder.steps(block.right.layers)) for block in plan.blocks]
        self._concat = [builder.steps(branch.layers) for branch in plan.concat]

    def forward(self, current: Tensor | State, previous: Tensor | State, progress: Tensor) -> Tensor:
        """Return the cell's output [batch, channels, height, width].

        Args:
            current: output of the cell before, as a `State` if other cells read it too.
            previous: output of the cell before that.
            progress: `drop_path_progress` of the network, 0-d, from 0 to 1.
        """
        inputs = [x if isinstance(x, State) else State(x) for x in (current, previous)]
        states = [State(x.through(steps)) for x, steps in zip(inputs, self._entry, strict=True)]
        for block, (left, right) in zip(self.plan.blocks, self._blocks, strict=True):
            paths = [self.path(block.left, left, states, progress), self.path(block.right, right, states, progress)]
            states.append(State(paths[0] + paths[1]))
        outputs = zip(self.plan.concat, self._concat, strict=True)
        return torch.cat([states[branch.source].through(steps) for branch, steps in outputs], 1)

    def path(self, branch: Branch, steps: tuple[LayerStep, ...], states: list[State], progress: Tensor) -> Tensor:
        """Return one operand of a block's sum, some of its examples dropped in training."""
        out = states[branch.source].through(steps)
        if not (self.training and branch.drop_path and self.plan.keep_probability < 1):
            return out
        return drop_examples(out, 1 - progress.float() * (1 - self.plan.keep_probability))


def drop_examples(path: Tensor, keep: Tensor) -> Tensor:
    """Drop whole examples of a path at random, and scale the others to keep the expected value.

    Args:
        path: [batch, channels, height, width].
        keep: probability of keeping an example, 0-d, float32.
    """
    # Drawn in float32 for every dtype of the path: bfloat16 would round the probability and the random numbers.
    kept = torch.rand(path.shape[0], 1, 1, 1, device=path.device) < keep
    return path * (kept / keep).to(path.dtype)


# Recomputing.


def recomputed(slot: Slot, current: Tensor, previous: Tensor, progress: Tensor) -> Tensor:
    """Run a cell so that the backward pass computes it again instead of storing its activations.

    The random numbers are the same both times, and the moving averages are updated once.
    """
    run_cell = partial(checkpoint, slot, current, previous, progress, use_reentrant=False)
    # A compiled graph has no side effects when it is recomputed, and the compiler does not support `context_fn`.
    output: Tensor = (
        run_cell() if torch.compiler.is_compiling() else run_cell(context_fn=partial(_contexts, slot.module))
    )
    return output


def batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """Yield the batch normalizations of a module, `nn.SyncBatchNorm` included."""
    yield from (m for m in module.modules() if isinstance(m, _BatchNorm))


def _contexts(cell: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a cell's run and of its recomputation in the backward pass."""
    return nullcontext(), _fixed_moving_averages(cell)


@contextmanager
def _fixed_moving_averages(cell: nn.Module) -> Iterator[None]:
    """Let batch normalization repeat its computation without updating the moving averages again."""
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in batch_norms(cell)]
    for norm, _, count in kept:
        # An update by zero instead of none: checkpointing expects every tensor that the first run stored.
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else torch.zeros_like(count)
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count
