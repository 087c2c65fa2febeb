"""The torch network of a plan, its modules named after TF-Slim's variables.

`cell_0/comb_iter_0/left/separable_5x5_1/depthwise_weights` is the parameter
`cell_0.comb_iter_0.left.separable_5x5_1.depthwise.weight`, and so on: see `parameter_name`. The modules are torch's own
(`Conv2d`, `BatchNorm2d`, `Linear`), and what is put in the place of one is what runs: SyncBatchNorm, quantization,
compilers, wrappers of cells. Of hooks one thing is to be known: where nothing else reads what a module gives, ReLU
overwrites it, so that a hook must copy what it keeps, and full backward hooks are not for such modules.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..architecture.plan import Branch, CellPlan, Plan
from ..errors import InputError, UnknownNameError
from .torch_layers import Chain, LayerBuilder, Slot, Step

_PARAMETER_NAMES = {
    "weights": "weight",
    "biases": "bias",
    "depthwise_weights": "depthwise.weight",
    "pointwise_weights": "pointwise.weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


_AFTER_THE_CELLS = {"global_pool", "Logits", "Predictions"}


def parameter_name(variable: str) -> str:
    """Return the state-dict key of a TF-Slim variable."""
    *scope, leaf = variable.split("/")
    return ".".join([*scope, _PARAMETER_NAMES[leaf]])


def to_torch_layout(variable: str, value: np.ndarray) -> np.ndarray:
    """Transpose a variable from TensorFlow's layout to torch's."""
    if variable.endswith("/depthwise_weights"):
        return value.transpose(2, 3, 0, 1)  # [H, W, channels, 1] -> [channels, 1, H, W]
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)  # [H, W, in, out] -> [out, in, H, W]
    return value.T  # [in, out] -> [out, in]; vectors stay as they are


def to_tensorflow_layout(variable: str, value: np.ndarray) -> np.ndarray:
    """Transpose a variable from torch's layout to TensorFlow's: the inverse of `to_torch_layout`."""
    if variable.endswith("/depthwise_weights"):
        return value.transpose(2, 3, 0, 1)
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T


class Network(nn.Module):
    """A network to train, or to run where torch runs.

    Attributes:
        memory_format: how activations lie in memory; channels last is faster on CPUs and in reduced precision.
            `use_memory_format` sets it and brings the kernels along.
        drop_path_progress: 0-d tensor from 0 (no path is dropped) to 1 (final rates, the default); training from
            scratch raises it from 0 to 1 as step / total steps.
        checkpoint_cells: whether training recomputes each cell in the backward pass instead of storing it. The random
            numbers are the same again, and moving averages are updated once.
    """

    drop_path_progress: Tensor

    def __init__(self, plan: Plan, *, batch_norm_momentum: float = 0.99, aux_head: bool = False) -> None:
        """Build the network with random kernels; `aux_head` adds the auxiliary classifier, if the plan has one.

        `batch_norm_momentum` is TensorFlow's: the share of the old value in a moving average.
        """
        super().__init__()
        self.plan = plan
        self.memory_format = torch.channels_last
        self.checkpoint_cells = False
        self.register_buffer("drop_path_progress", torch.ones(()), persistent=False)
        self._batch_norm_frozen = False
        builder = LayerBuilder(self)
        self._stem = builder.chain(plan.stem)
        self._cells = [(cell, _build_cell(builder, cell)) for cell in plan.cells]
        self._pool = builder.chain(plan.pool)
        self._classifier = builder.chain([plan.classifier] if plan.classifier else [])
        self._aux = builder.chain(plan.aux.layers if plan.aux and aux_head else [])
        self.set_batch_norm_momentum(batch_norm_momentum)

    @property
    def has_aux_head(self) -> bool:
        """Whether the network holds the auxiliary classifier."""
        return bool(self._aux.rest)

    def forward(self, images: Tensor, endpoints: Collection[str] = ("global_pool",)) -> dict[str, Tensor]:
        """Run the network.

        Args:
            images: [batch, height, width, 3], RGB, float, in [0, 1].
            endpoints: names from `plan.endpoints()`, and `AuxLogits` if the network has that head.

        Returns:
            The endpoints by name: maps as [batch, height, width, channels], the others as [batch, length].

        """
        self._check(endpoints)
        states = [State(self._stem((images * 2 - 1).permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)))]
        found = {"Stem": states[0].value} if self.plan.spec.stem == "cifar" else {}
        for index, (plan, slot) in enumerate(self._cells[: self._cells_for(endpoints)]):
            states = [*states[-2:], State(self._run_cell(slot, states[-1], states[-plan.lookback]))]
            if plan.endpoint in endpoints and plan.endpoint:
                found[plan.endpoint] = states[-1].value
            if self.plan.aux and index == self.plan.aux.cell and "AuxLogits" in endpoints:
                found["AuxLogits"] = states[-1].through(self._aux)
        if _AFTER_THE_CELLS & set(endpoints):
            found["global_pool"] = states[-1].through(self._pool)
        if {"Logits", "Predictions"} & set(endpoints):
            kept = functional.dropout(found["global_pool"], 1 - self.plan.spec.dropout_keep, self.training)
            found["Logits"] = self._classifier(kept)
            found["Predictions"] = functional.softmax(found["Logits"], 1)
        return {name: _channels_last(found[name]) for name in endpoints}

    def _cells_for(self, endpoints: Collection[str]) -> int:
        """Return how many cells the endpoints take: in training all, since their moving averages move."""
        if self.training or _AFTER_THE_CELLS & set(endpoints):
            return len(self._cells)
        wanted = [index for index, cell in enumerate(self.plan.cells) if cell.endpoint in endpoints]
        if self.plan.aux and "AuxLogits" in endpoints:
            wanted.append(self.plan.aux.cell)
        return max(wanted, default=-1) + 1

    def _check(self, endpoints: Collection[str]) -> None:
        known = [*self.plan.endpoints(), *(["AuxLogits"] if self.has_aux_head else [])]
        for name in endpoints:
            if name not in known:
                raise UnknownNameError.of("endpoint", name, known)

    def _run_cell(self, slot: Slot, current: "State", previous: "State") -> Tensor:
        if not (self.checkpoint_cells and self.training):
            return slot(current, previous, self.drop_path_progress)
        # Values alone: what a state has computed once would not be computed again.
        values = current.value, previous.value
        run = partial(checkpoint, slot, *values, self.drop_path_progress, use_reentrant=False)
        # A compiled graph recomputes without side effects, and its compiler knows no contexts of others.
        output: Tensor = (
            run() if torch.compiler.is_compiling() else run(context_fn=partial(_checkpoint_contexts, slot.module))
        )
        return output

    def train(self, mode: bool = True) -> "Network":
        """Set training mode, or inference mode; frozen batch normalization stays in inference mode."""
        super().train(mode)
        if self._batch_norm_frozen:
            for norm in _batch_norms(self):
                norm.eval()
        return self

    def freeze_batch_norm(self, frozen: bool = True) -> None:
        """Let batch normalization use its moving averages, which stay as they are, whatever `train` is called with.

        Its scales and offsets stay trainable. `frozen=False` undoes it.
        """
        self._batch_norm_frozen = frozen
        self.train(self.training)

    def freeze_moving_averages(self) -> None:
        """Let training leave the moving averages as they are; batch statistics still normalize."""
        for norm in _batch_norms(self):
            norm.track_running_stats = False

    def set_batch_norm_momentum(self, momentum: float) -> None:
        """Set the share of the old value in each update of a moving average: TensorFlow's momentum, 1 - torch's."""
        if not 0 <= momentum <= 1:
            raise InputError(f"batch_norm_momentum must be in [0, 1], not {momentum}")
        for norm in _batch_norms(self):
            norm.momentum = 1 - momentum

    @contextmanager
    def batch_norm_momentum(self, momentum: float | None) -> Iterator[None]:
        """Within the block, use another momentum, if one is given."""
        kept = [(norm, norm.momentum) for norm in _batch_norms(self)]
        if momentum is not None:
            self.set_batch_norm_momentum(momentum)
        try:
            yield
        finally:
            for norm, value in kept:
                norm.momentum = value

    def use_memory_format(self, memory_format: torch.memory_format) -> None:
        """Let activations and kernels lie in memory in this way: `torch.channels_last` or `torch.contiguous_format`."""
        self.memory_format = memory_format
        self.to(memory_format=memory_format)  # type: ignore[call-overload]

    def regularization_loss(self) -> Tensor:
        """Return the sum of the L2 terms, weight_decay * w²/2 over every kernel, as TF-Slim's."""
        squares = [kernel.float().square().sum() for kernel in self._kernels()]
        return self.plan.spec.weight_decay / 2 * torch.stack(squares).sum()

    @torch.no_grad()
    def add_regularization_gradients(self) -> None:
        """Add the gradient of `regularization_loss` to those that the kernels have: the same, in less time."""
        kernels = [kernel for kernel in self._kernels() if kernel.grad is not None]
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        torch._foreach_add_(gradients, kernels, alpha=self.plan.spec.weight_decay)

    def _kernels(self) -> list[Tensor]:
        """Return the parameters that have an L2 term."""
        parameters: dict[str, Tensor] = dict(self.named_parameters())
        names = (parameter_name(name) for name in self.plan.regularized())
        return [parameters[name] for name in names if name in parameters]

    def load_variables(self, variables: Mapping[str, np.ndarray]) -> None:
        """Copy the variables (TF-Slim's names, TensorFlow's layout) that the network has; others are left alone.

        Raises `InputError` where one has another shape.
        """
        state = self.state_dict()
        for name in self.plan.variables(training=True):
            if name in variables and (target := state.get(parameter_name(name))) is not None:
                value = np.ascontiguousarray(to_torch_layout(name, np.asarray(variables[name], np.float32)))
                if value.shape != target.shape:
                    raise InputError(f"{name} has the shape {value.shape} in torch's layout, not {tuple(target.shape)}")
                target.copy_(torch.from_numpy(value))

    def to_variables(self) -> dict[str, np.ndarray]:
        """Return a copy of all variables as float32 arrays: TF-Slim's names, TensorFlow's layout."""
        state = self.state_dict()
        names = (n for n in self.plan.variables(training=True) if parameter_name(n) in state)
        arrays = {n: state[parameter_name(n)].detach().float().cpu().contiguous().numpy() for n in names}
        return {n: np.array(to_tensorflow_layout(n, value), order="C") for n, value in arrays.items()}


class Cell(nn.Module):
    """One cell; the only place where a cell is interpreted."""

    def __init__(self, plan: CellPlan) -> None:
        """Make an empty cell, which `_build_cell` fills."""
        super().__init__()
        self.plan = plan
        self.entry: tuple[Chain, Chain]
        self.blocks: list[tuple[_Branch, _Branch]]
        self.output: list[_Branch]

    def forward(self, current: "Tensor | State", previous: "Tensor | State", progress: Tensor) -> Tensor:
        """Return the cell's output [batch, channels, height, width]."""
        inputs = [x if isinstance(x, State) else State(x) for x in (current, previous)]
        states = [State(x.through(entry)) for x, entry in zip(inputs, self.entry, strict=True)]
        for left, right in self.blocks:
            states.append(State(self._path(left, states, progress) + self._path(right, states, progress)))
        return torch.cat([branch(states) for branch in self.output], 1)

    def _path(self, branch: "_Branch", states: "list[State]", progress: Tensor) -> Tensor:
        out = branch(states)
        if not (self.training and branch.drop_path and self.plan.keep_probability < 1):
            return out
        return drop_examples(out, 1 - progress.float() * (1 - self.plan.keep_probability))


def drop_examples(path: Tensor, keep: Tensor) -> Tensor:
    """Drop whole examples of a path at random, and scale the others so that the expectation stays.

    Args:
        path: [batch, channels, height, width].
        keep: how likely an example is kept, 0-d, float32.

    """
    # The draw is in float32 even where the path is not: bfloat16 would round the probability and the random number.
    kept = torch.rand(path.shape[0], 1, 1, 1, device=path.device) < keep
    return path * (kept / keep).to(path.dtype)


class State:
    """A tensor that several chains read; what they begin with alike is computed once, when first asked for.

    Mostly that is its rectified form, in reducing cells also the padded one. Cells share their inputs' states too.
    """

    def __init__(self, value: Tensor) -> None:
        """Hold a value [batch, channels, height, width], which nothing may overwrite."""
        self.value = value
        self._forms: dict[tuple[Step, ...], Tensor] = {(): value}

    def through(self, chain: Chain) -> Tensor:
        """Return what the chain makes of the value."""
        x = self._after(chain.lead)
        for step in chain.rest:
            x = step(x)
        return x

    def _after(self, lead: tuple[Step, ...]) -> Tensor:
        if lead not in self._forms:
            self._forms[lead] = lead[-1](self._after(lead[:-1]))
        return self._forms[lead]


class _Branch:
    """A chain that reads one state of a cell."""

    def __init__(self, branch: Branch, chain: Chain) -> None:
        self.source, self.drop_path, self._chain = branch.source, branch.drop_path, chain

    def __call__(self, states: list[State]) -> Tensor:
        return states[self.source].through(self._chain)


def _build_cell(builder: LayerBuilder, plan: CellPlan) -> Slot:
    cell = Cell(plan)
    slot = builder.register(plan.scope, cell)
    cell.entry = (builder.chain(plan.entry[0]), builder.chain(plan.entry[1]))
    cell.blocks = [(_build_branch(builder, block.left), _build_branch(builder, block.right)) for block in plan.blocks]
    cell.output = [_build_branch(builder, branch) for branch in plan.concat]
    return slot


def _build_branch(builder: LayerBuilder, branch: Branch) -> _Branch:
    return _Branch(branch, builder.chain(branch.layers))


def _batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """Yield the batch normalizations, those that SyncBatchNorm has replaced included."""
    yield from (m for m in module.modules() if isinstance(m, _BatchNorm))


def _checkpoint_contexts(cell: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds the run of a cell, and its second run in the backward pass."""
    return nullcontext(), _moving_averages_at_rest(cell)


@contextmanager
def _moving_averages_at_rest(cell: nn.Module) -> Iterator[None]:
    """Let batch normalization compute what it computed before, without another update of its moving averages."""
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in _batch_norms(cell)]
    for norm, _, count in kept:
        # Updates by nothing: checkpointing wants all the tensors again that the first run kept, these among them.
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else torch.zeros_like(count)
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x
