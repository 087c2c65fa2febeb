"""The torch network of a plan, its modules named after TF-Slim's variables.

`cell_0/comb_iter_0/left/separable_5x5_1/depthwise_weights` is the parameter
`cell_0.comb_iter_0.left.separable_5x5_1.depthwise.weight`, and so on: see `architecture.torch_names`. The modules are
torch's own (`Conv2d`, `BatchNorm2d`, `Linear`). They can be replaced, for example by SyncBatchNorm, quantized layers,
or compiled or wrapped cells.

ReLU overwrites the output of a module that no other step reads. A forward hook on such a module must copy the tensors
that it keeps, and full backward hooks do not work on it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..architecture.plan import Plan
from ..architecture.torch_names import parameter_name, to_tensorflow_layout, to_torch_layout
from ..errors import InputError, UnknownNameError
from ..support.contexts import contextmanager
from ..support.typed import check_range, number
from .torch_cells import Cell, State, batch_norms, recomputed
from .torch_layers import LayerBuilder, Slot, has_parameters, run

_AFTER_THE_CELLS = {"global_pool", "Logits", "Predictions"}
_PROGRESS = "drop_path_progress"


class Network(nn.Module):
    """A network to train, or to run where torch runs.

    Attributes:
        drop_path_progress: 0-d tensor from 0 (no path is dropped) to 1 (final rates, the default). Training from
            scratch raises it from 0 to 1 as step / total steps. It is part of the state dict.
        checkpoint_cells: whether training recomputes each cell in the backward pass instead of storing its
            activations. The random numbers are the same both times, and moving averages are updated once.
    """

    drop_path_progress: Tensor

    def __init__(self, plan: Plan, *, batch_norm_momentum: float = 0.99, aux_head: bool = False) -> None:
        """Build the network with random kernels.

        Args:
            plan: the plan to follow.
            batch_norm_momentum: share of the old value in each update of a moving average, as in TensorFlow.
            aux_head: whether to add the auxiliary classifier, if the plan has one.
        """
        super().__init__()
        self.plan = plan
        self._channels_last = True
        self.checkpoint_cells = False
        self.register_buffer(_PROGRESS, torch.ones(()))
        self._batch_norm_frozen = False
        builder = LayerBuilder(self)
        self._stem = builder.steps(plan.stem)
        self._cells = [self._build_cell(builder, Cell(cell)) for cell in plan.cells]
        self._pool = builder.steps(plan.pool)
        self._classifier = builder.steps([plan.classifier] if plan.classifier else [])
        self._aux = builder.steps(plan.aux.layers if plan.aux and aux_head else [])
        self.set_batch_norm_momentum(batch_norm_momentum)

    @staticmethod
    def _build_cell(builder: LayerBuilder, cell: Cell) -> Slot:
        slot = builder.register(cell.plan.scope, cell)
        cell.build(builder)
        return slot

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory layout of activations. Channels last, the default, is faster on CPUs and in reduced precision."""
        return torch.channels_last if self._channels_last else torch.contiguous_format

    @property
    def has_aux_head(self) -> bool:
        """Whether the network has the auxiliary classifier."""
        return any(map(has_parameters, self._aux))

    def forward(self, images: Tensor, endpoints: Collection[str] = ("global_pool",)) -> dict[str, Tensor]:
        """Run the network.

        Args:
            images: [batch, height, width, 3], RGB, float in [0, 1], of the plan's size.
            endpoints: names from `plan.endpoints()`, and `AuxLogits` if the network has that head.

        Returns:
            The endpoints by name: maps as [batch, height, width, channels], the others as [batch, length].

        Raises:
            InputError: images of another size, rank or kind.
            UnknownNameError: an unknown endpoint.
        """
        self._check(images, endpoints)
        found: dict[str, Tensor] = {}
        for index, state in enumerate(
            self.states((images * 2 - 1).permute(0, 3, 1, 2), self._cells_for(endpoints)), -1
        ):
            name = self.plan.cells[index].endpoint if index >= 0 else "Stem"
            if name in endpoints and name:
                found[name] = state.value
            if self.plan.aux and index == self.plan.aux.cell and "AuxLogits" in endpoints:
                found["AuxLogits"] = state.through(self._aux)
        if _AFTER_THE_CELLS & set(endpoints):
            found["global_pool"] = state.through(self._pool)
        if {"Logits", "Predictions"} & set(endpoints):
            kept = functional.dropout(found["global_pool"], 1 - self.plan.spec.dropout_keep, self.training)
            found["Logits"] = run(self._classifier, kept)
            found["Predictions"] = functional.softmax(found["Logits"], 1)
        return {name: _channels_last(found[name]) for name in endpoints}

    def states(self, scaled: Tensor, cells: int | None = None) -> Iterator[State]:
        """Yield the outputs of the stem and of the first `cells` cells (all if None), [batch, channels, height, width].

        `scaled` is [batch, 3, height, width] in [-1, 1], of the plan's size; it is not checked.
        """
        states = [State(run(self._stem, scaled.contiguous(memory_format=self.memory_format)))]
        yield states[0]
        for plan, slot in zip(self.plan.cells, self._cells[:cells], strict=False):
            states = [*states[-2:], State(self._run_cell(slot, states[-1], states[-plan.lookback]))]
            yield states[-1]

    def _cells_for(self, endpoints: Collection[str]) -> int:
        """Return the number of cells that the endpoints need; in training all, to update their moving averages."""
        if self.training or _AFTER_THE_CELLS & set(endpoints):
            return len(self._cells)
        wanted = [index for index, cell in enumerate(self.plan.cells) if cell.endpoint in endpoints]
        if self.plan.aux and "AuxLogits" in endpoints:
            wanted.append(self.plan.aux.cell)
        return max(wanted, default=-1) + 1

    def _check(self, images: Tensor, endpoints: Collection[str]) -> None:
        height, width = self.plan.spec.image_size
        if images.ndim != 4 or images.shape[3] != 3 or not images.is_floating_point():
            found = f"{list(images.shape)} {images.dtype}"
            raise InputError(f"images must be [batch, {height}, {width}, 3], float in [0, 1], not {found}")
        if images.shape[1:3] != (height, width):
            # TensorFlow's padding depends on the size, so another size needs another plan.
            raise InputError(
                f"images are {images.shape[1]}x{images.shape[2]}, but the network is planned for {height}x{width}: "
                "resize them, or use pnasnet.lowering.torch_sizes.sharing_weights(network, (height, width))"
            )
        known = [*self.plan.endpoints(), *(["AuxLogits"] if self.has_aux_head else [])]
        for name in endpoints:
            if name not in known:
                raise UnknownNameError.of("endpoint", name, known)

    def _run_cell(self, slot: Slot, current: State, previous: State) -> Tensor:
        if self.checkpoint_cells and self.training:
            # Tensors instead of states: a result cached in a state would not be recomputed.
            return recomputed(slot, current.value, previous.value, self.drop_path_progress)
        return slot(current, previous, self.drop_path_progress)

    def train(self, mode: bool = True) -> "Network":
        """Set training or inference mode. Frozen batch normalization stays in inference mode."""
        super().train(mode)
        if self._batch_norm_frozen:
            for norm in batch_norms(self):
                norm.eval()
        return self

    def freeze_batch_norm(self, frozen: bool = True) -> None:
        """Normalize by the moving averages without updating them, also after later calls of `train`.

        Scales and offsets stay trainable. `frozen=False` undoes it.
        """
        self._batch_norm_frozen = frozen
        self.train(self.training)

    def freeze_moving_averages(self) -> None:
        """Do not update the moving averages in training, which still normalizes by batch statistics."""
        for norm in batch_norms(self):
            norm.track_running_stats = False

    def set_batch_norm_momentum(self, momentum: float) -> None:
        """Set the share of the old value in each update of a moving average: TensorFlow's momentum, 1 - torch's."""
        check_range("batch_norm_momentum", number("batch_norm_momentum", momentum), 0, 1)
        for norm in batch_norms(self):
            norm.momentum = 1 - momentum

    @contextmanager
    def batch_norm_momentum(self, momentum: float | None) -> Iterator[None]:
        """Use another momentum within the block; None for the present one."""
        kept = [(norm, norm.momentum) for norm in batch_norms(self)]
        if momentum is not None:
            self.set_batch_norm_momentum(momentum)
        try:
            yield
        finally:
            for norm, value in kept:
                norm.momentum = value

    def use_memory_format(self, memory_format: torch.memory_format) -> None:
        """Set the layout of activations and kernels: `torch.channels_last` or `torch.contiguous_format`."""
        self._channels_last = memory_format == torch.channels_last
        self.to(memory_format=memory_format)  # type: ignore[call-overload]

    def regularization_loss(self) -> Tensor:
        """Return the sum of the L2 terms, weight_decay * w²/2 over every kernel, as in TF-Slim."""
        squares = [kernel.float().square().sum() for kernel in self._kernels()]
        return self.plan.spec.weight_decay / 2 * torch.stack(squares).sum()

    @torch.no_grad()
    def add_regularization_gradients(self) -> None:
        """Add the gradient of `regularization_loss` to the kernels' gradients, faster than by its backward pass."""
        kernels = [kernel for kernel in self._kernels() if kernel.grad is not None]
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        torch._foreach_add_(gradients, kernels, alpha=self.plan.spec.weight_decay)

    def _kernels(self) -> list[Tensor]:
        """Return the parameters that have an L2 term."""
        parameters: dict[str, Tensor] = dict(self.named_parameters())
        names = (parameter_name(name) for name in self.plan.regularized())
        return [parameters[name] for name in names if name in parameters]

    def load_variables(self, variables: Mapping[str, np.ndarray]) -> None:
        """Copy the network's variables from `variables` (TF-Slim's names, TensorFlow's layout); ignore others.

        Variables that are missing keep their values. Raises `InputError` if a shape differs.
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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Network":
        # `to_empty` leaves random bytes, and loading weights does not replace this buffer: it is not a weight.
        before = self.drop_path_progress
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not self.drop_path_progress.is_meta:
            self.drop_path_progress.fill_(1.0 if before.is_meta else before)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # State dicts of earlier versions, and of other sources, hold weights alone.
        state_dict.setdefault(prefix + _PROGRESS, torch.ones(()))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x
