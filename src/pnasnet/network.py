"""The torch network of a plan, its modules named after TF-Slim's variables.

`cell_0/comb_iter_0/left/separable_5x5_1/depthwise_weights` is the parameter
`cell_0.comb_iter_0.left.separable_5x5_1.depthwise.weight`, and so on: see `parameter_name`. The modules are torch's own
(`Conv2d`, `BatchNorm2d`, `Linear`), so that everything made for them works: SyncBatchNorm, quantization, compilers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod, sqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .errors import UnknownNameError
from .layers import BatchNorm, Conv, Dense, FactorizedReduction, GlobalPool, Layer, Padding, Pool, Relu, SeparableConv
from .plan import Branch, CellPlan, Plan

Step = Callable[[Tensor], Tensor]

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
        drop_path_progress: 0-d tensor from 0 (no path is dropped) to 1 (final rates, the default); training from
            scratch raises it from 0 to 1 as step / total steps.
        checkpoint_cells: whether training recomputes each cell in the backward pass instead of storing it.
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
        builder = _Builder(self, 1 - batch_norm_momentum)
        self._stem = builder.chain(plan.stem)
        self._cells = [builder.cell(cell) for cell in plan.cells]
        self._pool = builder.chain(plan.pool)
        self._classifier = builder.chain([plan.classifier] if plan.classifier else [])
        self._aux = builder.chain(plan.aux.layers if plan.aux and aux_head else [])

    @property
    def has_aux_head(self) -> bool:
        """Whether the network holds the auxiliary classifier."""
        return bool(self._aux.steps)

    def forward(self, images: Tensor, endpoints: Collection[str] = ("global_pool",)) -> dict[str, Tensor]:
        """Run the network.

        Args:
            images: [batch, height, width, 3], RGB, float, in [0, 1].
            endpoints: names from `plan.endpoints()`, and `AuxLogits` if the network has that head.

        Returns:
            The endpoints by name: maps as [batch, height, width, channels], the others as [batch, length].

        """
        self._check(endpoints)
        states = [self._stem((images * 2 - 1).permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format))]
        found = {"Stem": states[0]} if self.plan.spec.stem == "cifar" else {}
        for index, cell in enumerate(self._cells):
            states = [*states[-2:], self._run_cell(cell, states[-1], states[-cell.plan.lookback])]
            if cell.plan.endpoint in endpoints and cell.plan.endpoint:
                found[cell.plan.endpoint] = states[-1]
            if self.plan.aux and index == self.plan.aux.cell and "AuxLogits" in endpoints:
                found["AuxLogits"] = self._aux(states[-1])
        found["global_pool"] = self._pool(states[-1])
        if {"Logits", "Predictions"} & set(endpoints):
            kept = functional.dropout(found["global_pool"], 1 - self.plan.spec.dropout_keep, self.training)
            found["Logits"] = self._classifier(kept)
            found["Predictions"] = functional.softmax(found["Logits"], 1)
        return {name: _channels_last(found[name]) for name in endpoints}

    def _check(self, endpoints: Collection[str]) -> None:
        known = [*self.plan.endpoints(), *(["AuxLogits"] if self.has_aux_head else [])]
        for name in endpoints:
            if name not in known:
                raise UnknownNameError.of("endpoint", name, known)

    def _run_cell(self, cell: "Cell", current: Tensor, previous: Tensor) -> Tensor:
        if self.checkpoint_cells and self.training:
            return checkpoint(cell, current, previous, self.drop_path_progress, use_reentrant=False)  # type: ignore[no-any-return]
        return cell(current, previous, self.drop_path_progress)  # type: ignore[no-any-return]

    def set_batch_norm_momentum(self, momentum: float) -> None:
        """Set the share of the old value in each update of a moving average."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1 - momentum

    def freeze_moving_averages(self) -> None:
        """Let training leave the moving averages as they are; batch statistics still normalize."""
        self.set_batch_norm_momentum(1.0)

    def regularization_loss(self) -> Tensor:
        """Return the sum of the L2 terms, weight_decay * w²/2 over every kernel, as TF-Slim's."""
        parameters = dict(self.named_parameters())
        names = (parameter_name(name) for name in self.plan.regularized())
        squares = [parameters[name].float().square().sum() for name in names if name in parameters]
        return self.plan.spec.weight_decay / 2 * torch.stack(squares).sum()

    def load_variables(self, variables: Mapping[str, np.ndarray]) -> None:
        """Copy the variables (TF-Slim's names, TensorFlow's layout) that the network has; others are left alone."""
        state = self.state_dict()
        for name in self.plan.variables(training=True):
            if name in variables and (target := state.get(parameter_name(name))) is not None:
                value = np.ascontiguousarray(to_torch_layout(name, np.asarray(variables[name], np.float32)))
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
        """Make an empty cell, which `_Builder` fills."""
        super().__init__()
        self.plan = plan
        self.entry: tuple[_Chain, _Chain]
        self.blocks: list[tuple[_Branch, _Branch]]
        self.output: list[_Branch]

    def forward(self, current: Tensor, previous: Tensor, progress: Tensor) -> Tensor:
        """Return the cell's output [batch, channels, height, width]."""
        states = [_State(self.entry[0](current)), _State(self.entry[1](previous))]
        for left, right in self.blocks:
            states.append(_State(self._path(left, states, progress) + self._path(right, states, progress)))
        return torch.cat([branch(states) for branch in self.output], 1)

    def _path(self, branch: "_Branch", states: "list[_State]", progress: Tensor) -> Tensor:
        out = branch(states)
        if not (self.training and branch.drop_path and self.plan.keep_probability < 1):
            return out
        keep = (1 - progress * (1 - self.plan.keep_probability)).to(out.dtype)
        # Whole examples are dropped, each path on its own.
        kept = torch.floor(keep + torch.rand(out.shape[0], 1, 1, 1, dtype=out.dtype, device=out.device))
        return out * (kept / keep)


class _Chain:
    """Steps one after the other. Not a module: its modules are registered where TF-Slim's scopes put them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)

    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class _State:
    """A state of a cell, and its rectified form: computed when first asked for, shared by all that read it."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self._rectified: Tensor | None = None

    @property
    def rectified(self) -> Tensor:
        if self._rectified is None:
            self._rectified = functional.relu(self.value)
        return self._rectified


class _Branch:
    """A chain that reads one state of a cell, rectified if that is the chain's first step."""

    def __init__(self, branch: Branch, chain: _Chain) -> None:
        self.source, self.drop_path = branch.source, branch.drop_path
        self._rectifies = bool(branch.layers) and isinstance(branch.layers[0], Relu)
        self._chain = _Chain(chain.steps[1:]) if self._rectifies else chain

    def __call__(self, states: list[_State]) -> Tensor:
        state = states[self.source]
        return self._chain(state.rectified if self._rectifies else state.value)


class _Builder:
    """Turns layers into steps, and registers their modules by scope."""

    def __init__(self, root: nn.Module, momentum: float) -> None:
        self._root, self._momentum = root, momentum

    def cell(self, plan: CellPlan) -> Cell:
        cell = Cell(plan)
        self._register(plan.scope, cell)
        cell.entry = (self.chain(plan.entry[0]), self.chain(plan.entry[1]))
        cell.blocks = [(self._branch(block.left), self._branch(block.right)) for block in plan.blocks]
        cell.output = [self._branch(branch) for branch in plan.concat]
        return cell

    def chain(self, layers: Sequence[Layer]) -> _Chain:
        return _Chain([self._step(layer) for layer in layers])

    def _branch(self, branch: Branch) -> _Branch:
        return _Branch(branch, self.chain(branch.layers))

    def _register(self, scope: str, module: nn.Module) -> None:
        *parents, name = scope.split("/")
        parent = self._root
        for part in parents:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(name, module)

    def _step(self, layer: Layer) -> Step:
        match layer:
            case Relu():
                return functional.relu
            case Pool():
                return _pool(layer)
            case GlobalPool():
                return _global_pool
            case FactorizedReduction():
                return self._halving(layer)
            case Dense():
                dense = _dense(layer)
                self._register(layer.scope, dense)
                return lambda x: dense(x.flatten(1))
            case Conv() | SeparableConv() | BatchNorm():
                module = self._module(layer)
                self._register(layer.scope, module)
                return module
        raise TypeError(f"unknown layer {layer}")

    def _module(self, layer: Conv | SeparableConv | BatchNorm) -> nn.Module:
        channels = layer.input.channels, layer.output.channels
        match layer:
            case Conv():
                return _conv(*channels, layer.kernel, layer.stride, layer.padding, layer.dilation)
            case SeparableConv():
                return _separable(layer)
            case BatchNorm():
                return nn.BatchNorm2d(channels[0], layer.epsilon, self._momentum)

    def _halving(self, layer: FactorizedReduction) -> Step:
        channels, (even_width, odd_width) = layer.input.channels, layer.widths
        first = _conv(channels, even_width, (1, 1), 2, Padding())
        second = _conv(channels, odd_width, (1, 1), 1, Padding())
        self._register(f"{layer.scope}/path1_conv", first)
        self._register(f"{layer.scope}/path2_conv", second)
        missing = (0, layer.input.width % 2, 0, layer.input.height % 2)

        def halve(x: Tensor) -> Tensor:
            odd = functional.pad(x[:, :, 1::2, 1::2], missing)
            return torch.cat([first(x), second(odd)], 1)

        return halve


class _Conv2d(nn.Conv2d):
    """A convolution that pads as the plan says, which may be more at the end, as TensorFlow's SAME does."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int,
        padding: Padding,
        dilation: int,
        groups: int,
    ) -> None:
        # What both ends share is left to the convolution; only the surplus at the end costs a copy.
        start = (padding.top, padding.left)
        super().__init__(inputs, outputs, kernel, stride, start, dilation, groups, bias=False)
        surplus = (0, padding.right - padding.left, 0, padding.bottom - padding.top)
        self.surplus = surplus if any(surplus) else None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return super().forward(functional.pad(input, self.surplus) if self.surplus else input)


def _conv(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: int, padding: Padding,
    dilation: int = 1, groups: int = 1,
) -> nn.Conv2d:  # fmt: skip
    """Return a convolution without bias, with He's initialization by fan-out as in TF-Slim."""
    module = _Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups)
    nn.init.normal_(module.weight, std=sqrt(2 / (prod(kernel) * outputs / groups)))
    return module


def _separable(layer: SeparableConv) -> nn.Module:
    channels = layer.input.channels
    module = nn.Sequential()
    module.add_module("depthwise", _conv(channels, channels, layer.kernel, layer.stride, layer.padding, 1, channels))
    module.add_module("pointwise", _conv(channels, layer.output.channels, (1, 1), 1, Padding()))
    return module


def _dense(layer: Dense) -> nn.Linear:
    module = nn.Linear(layer.input.channels, layer.output.channels)
    nn.init.trunc_normal_(module.weight, std=sqrt(1 / layer.input.channels))
    nn.init.zeros_(module.bias)
    return module


def _pool(layer: Pool) -> Step:
    start = (layer.padding.top, layer.padding.left)
    # Where TensorFlow pads one more at the end, the last window reaches over the edge: torch's ceil mode.
    reaches_over = (layer.padding.bottom, layer.padding.right) != start
    if layer.kind == "max":
        return nn.MaxPool2d(layer.kernel, layer.stride, start, ceil_mode=reaches_over)
    return nn.AvgPool2d(layer.kernel, layer.stride, start, ceil_mode=reaches_over, count_include_pad=False)


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x
