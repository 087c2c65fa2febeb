"""Resolve a network's spec into a plan: the only place that applies TF-Slim's rules.

The plan decides when the previous input is projected or halved, when pooling needs a 1x1 convolution, how each
convolution pads, which cell reduces, the keep probability of each path, and the name of each variable. The torch
network, the ONNX graph, the checks of weights and the papers' counts follow the plan and decide nothing.

Sources: TF-Slim's `nasnet.py`, `nasnet_utils.py` and `pnasnet.py`; Liu et al., 2018; Zoph et al., 2018.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ..errors import SpecError
from ..support.arguments import checked
from .cells import CellSpec
from .layers import Dense, GlobalPool, Layer, Relu, Shape, Stack, VariableShapes
from .spec import NetworkSpec

Layers = tuple[Layer, ...]


@dataclass(frozen=True)
class Branch:
    """A state of a cell, and the layers applied to it. With `drop_path`, training drops the whole branch at random."""

    source: int
    layers: Layers
    drop_path: bool = False


@dataclass(frozen=True)
class BlockPlan:
    """Two branches whose results are added."""

    scope: str
    left: Branch
    right: Branch


@dataclass(frozen=True)
class CellPlan:
    """A cell at its place in a network."""

    scope: str
    endpoint: str | None
    """TF-Slim's name of the output; None for the first cell of the stem."""
    lookback: int
    """Which output is the previous input: 1 the last one (the current input itself), 2 the one before, and so on."""
    entry: tuple[Layers, Layers]
    """Layers applied to the current and to the previous input."""
    blocks: tuple[BlockPlan, ...]
    concat: tuple[Branch, ...]
    """Branches whose concatenation is the output."""
    keep_probability: float
    """Probability of keeping a path in training, at the end of the schedule."""
    output: Shape

    def layers(self) -> Iterator[Layer]:
        """Yield all layers in TF-Slim's order of creation."""
        yield from (*self.entry[1], *self.entry[0])
        for block in self.blocks:
            yield from (*block.left.layers, *block.right.layers)
        for branch in self.concat:
            yield from branch.layers


@dataclass(frozen=True)
class AuxPlan:
    """The auxiliary classifier in the middle of the network; only training uses it."""

    scope: str
    cell: int
    """Index in `Plan.cells` of its input."""
    layers: Layers


@dataclass(frozen=True)
class Plan:
    """A network with every decision made. Its input is [height, width, 3] in [-1, 1].

    Example:
        >>> from pnasnet import Module
        >>> plan = Module("pnasnet_tiny").model.plan
        >>> plan.num_features, plan.endpoints()["Logits"]
        (960, (10,))
        >>> plan.parameters, plan.mult_adds
        (1673050, 56964480)
        >>> next(plan.layers()).output, plan.variables()["final_layer/FC/biases"], plan.regularized()[0]
        (Shape(height=16, width=16, channels=48), (10,), 'l1_stem_3x3/weights')
    """

    spec: NetworkSpec
    stem: Layers
    cells: tuple[CellPlan, ...]
    pool: Layers
    classifier: Dense | None
    aux: AuxPlan | None

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        return self.pool[-1].output.channels

    def layers(self, *, training: bool = False) -> Iterator[Layer]:
        """Yield all layers in TF-Slim's order of creation; with `training`, those of the auxiliary head as well."""
        yield from self.stem
        for index, cell in enumerate(self.cells):
            yield from cell.layers()
            if training and self.aux and self.aux.cell == index:
                yield from self.aux.layers
        yield from self.pool
        if self.classifier:
            yield self.classifier

    def variables(self, *, training: bool = False) -> VariableShapes:
        """Return the name and shape of every variable; with `training`, those of the auxiliary head as well."""
        return {name: shape for layer in self.layers(training=training) for name, shape in layer.variables().items()}

    def endpoints(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape, without the batch, of every endpoint of inference, in order."""
        maps: dict[str, tuple[int, ...]] = {cell.endpoint: cell.output for cell in self.cells if cell.endpoint}
        if self.spec.stem == "cifar":
            maps = {"Stem": self.stem[-1].output, **maps}
        heads = {"Logits": (n,), "Predictions": (n,)} if (n := self.spec.num_classes) else {}
        return {**maps, "global_pool": (self.num_features,), **heads}

    @property
    def parameters(self) -> int:
        """Number of trainable values: kernels, scales, offsets and biases, without the auxiliary head."""
        return sum(prod(shape) for name, shape in self.variables().items() if "/moving_" not in name)

    @property
    def mult_adds(self) -> int:
        """Multiply-adds for one image: convolutions and classifier."""
        return sum(layer.mult_adds for layer in self.layers())

    def regularized(self) -> list[str]:
        """Return the variables that have an L2 term: all kernels, including the auxiliary head's."""
        return [name for name in self.variables(training=True) if name.endswith("weights")]


@checked
def resolve(spec: NetworkSpec) -> Plan:
    """Decide everything about the network of `spec`. Raises `SpecError` if its images are too small.

    Example:
        >>> from pnasnet import NASNET_A_NORMAL, NASNET_A_REDUCTION, NetworkSpec, resolve
        >>> spec = NetworkSpec(NASNET_A_NORMAL, 12, 44, (224, 224), 1001, reduction_cell=NASNET_A_REDUCTION)
        >>> resolve(spec).num_features
        1056
    """
    smallest = smallest_image(spec)
    if min(spec.image_size) < smallest:
        height, width = spec.image_size
        raise SpecError(
            f"images of {height}x{width} are too small for this network: use at least {smallest}x{smallest}"
        )
    stem = _stem(spec)
    cells = list(_cells(spec, stem[-1].output))
    last = cells[-1].output
    pooled = Shape(1, 1, last.channels)
    classes = spec.num_classes
    classifier = Dense(pooled, Shape(1, 1, classes), "final_layer/FC") if classes else None
    return Plan(spec, stem, tuple(cells), (Relu(last, last), GlobalPool(last, pooled)), classifier, _aux(spec, cells))


def smallest_image(spec: NetworkSpec) -> int:
    """Return the smallest height and width at which every reduction still halves the map."""
    cells = spec.reductions + (2 if spec.stem == "imagenet" else 0)
    # Before its last halving a map has at least 2 pixels: more than 2 ** (cells - 1) after the stem's convolution.
    after_stem = 2 ** (cells - 1) + 1 if cells else 1
    return 2 * after_stem + 1 if spec.stem == "imagenet" else (after_stem - 1) * spec.stem_stride + 1


def _stem(spec: NetworkSpec) -> Layers:
    stack = Stack(Shape(*spec.image_size, 3), "", spec.epsilon)
    if spec.stem == "imagenet":
        return stack.conv("conv0", spec.stem_filters, (3, 3), 2, valid=True).batch_norm("conv0_bn").done()
    return stack.conv("l1_stem_3x3", spec.stem_filters, (3, 3), spec.stem_stride).batch_norm("l1_stem_bn").done()


@dataclass(frozen=True)
class _CellPosition:
    """A cell with the properties that its position in the network decides."""

    cell: CellSpec
    scope: str
    endpoint: str | None
    filters: int
    stride: int
    lookback: int


def _positions(spec: NetworkSpec) -> Iterator[_CellPosition]:
    """Yield all cells in order: the stem's, then reduction and normal cells."""
    reducing = spec.reduction_cell or spec.cell
    if spec.stem == "imagenet":
        for index in range(2):
            narrow = int(spec.filters / spec.filter_scaling ** (2 - index))
            # The very first cell has one input, which is also its previous one.
            yield _CellPosition(reducing, f"cell_stem_{index}", ("Stem" if index else None), narrow, 2, 1 + index)
    filters, first = float(spec.filters), spec.stem == "cifar"
    for index in range(spec.num_cells):
        reduces = index in spec.reduction_indices
        filters *= spec.filter_scaling if reduces else 1
        lookback = 1 if first else 2
        if reduces and spec.reduction_cell:
            number = spec.reduction_indices.index(index)
            names = f"reduction_cell_{number}", f"Reduction_Cell_{number}"
            yield _CellPosition(spec.reduction_cell, *names, int(filters), 2, lookback)
            # TF-Slim notes the previous input before or after it inserts the reduction cell.
            lookback = min(lookback + 1, 2 if first else 3) if spec.skip_reduction_input else 2
        stride = 2 if reduces and not spec.reduction_cell else 1
        yield _CellPosition(spec.cell, f"cell_{index}", f"Cell_{index}", int(filters), stride, lookback)
        first = False


def _cells(spec: NetworkSpec, stem: Shape) -> Iterator[CellPlan]:
    outputs, positions = [stem], list(_positions(spec))
    for index, position in enumerate(positions):
        keep = 1 - (index + 1) / len(positions) * (1 - spec.drop_path_keep)
        cell = _cell(position, outputs[-1], outputs[-position.lookback], keep, spec.epsilon)
        outputs.append(cell.output)
        yield cell


def _cell(position: _CellPosition, current: Shape, previous: Shape, keep: float, epsilon: float) -> CellPlan:
    entry_current = (
        Stack(current, position.scope, epsilon).relu().conv("1x1", position.filters).batch_norm("beginning_bn")
    )
    entry_previous = Stack(previous, position.scope, epsilon)
    if position.lookback > 1:
        if previous[:2] != current[:2]:
            entry_previous.relu().reduce(position.filters, 2)
        elif previous.channels != position.filters:
            entry_previous.relu().conv("prev_1x1", position.filters).batch_norm("prev_bn")
    states = [entry_current.shape, entry_previous.shape]
    blocks = []
    for index, (left, left_input, right, right_input) in enumerate(position.cell.blocks):
        scope = f"{position.scope}/comb_iter_{index}"
        branches = [
            _operation(f"{scope}/{side}", operation, source, states[source], position, epsilon)
            for side, operation, source in (("left", left, left_input), ("right", right, right_input))
        ]
        shape = next((b.layers[-1].output for b in branches if b.layers), states[left_input])
        states.append(shape)
        blocks.append(BlockPlan(scope, *branches))
    concat = tuple(_output(source, states, position.scope, epsilon) for source in position.cell.concat)
    output = Shape(*states[-1][:2], len(concat) * states[-1].channels)
    entry = (entry_current.done(), entry_previous.done())
    return CellPlan(position.scope, position.endpoint, position.lookback, entry, tuple(blocks), concat, keep, output)


def _operation(
    scope: str, operation: str, source: int, shape: Shape, position: _CellPosition, epsilon: float
) -> Branch:
    """Return the layers of one operation. Only operations on the cell's two inputs have the cell's stride."""
    stride, filters = (position.stride if source < 2 else 1), position.filters
    stack = Stack(shape, scope, epsilon)
    match operation:
        case "sep3" | "sep5" | "sep7":
            size = int(operation[3:])
            for turn in (1, 2):
                stack.relu().separable(f"separable_{size}x{size}_{turn}", filters, size, stride if turn == 1 else 1)
                stack.batch_norm(f"bn_sep_{size}x{size}_{turn}")
        case "max3" | "max5" | "max7" | "avg3":
            stack.pool(operation[:3], int(operation[3:]), stride)
            if shape.channels != filters:
                stack.conv("1x1", filters).batch_norm("bn_1")
        case "identity":
            if stride > 1 or shape.channels != filters:
                stack.relu().conv("1x1", filters, stride=stride).batch_norm("bn_1")
        case "conv1x7_7x1" | "conv1x3_3x1":
            size = int(operation[-3])
            stack.relu().conv(f"1x{size}", filters, (1, size), stride).batch_norm(f"bn_1x{size}")
            stack.relu().conv(f"{size}x1", filters, (size, 1)).batch_norm(f"bn_{size}x1")
        case "conv1" | "conv3":
            size = int(operation[4:])
            stack.relu().conv(f"conv_{size}x{size}", filters, (size, size), stride).batch_norm(f"bn_{size}x{size}")
        case "dil3":
            stack.relu().conv("dilated_3x3", filters, (3, 3), stride, dilation=2).batch_norm("bn_dilated_3x3")
    return Branch(source, stack.done(), drop_path=operation != "identity")


def _output(source: int, states: list[Shape], scope: str, epsilon: float) -> Branch:
    """Return the branch that reduces one state to the size of the last, for the concatenation."""
    shape, final = states[source], states[-1]
    stack = Stack(shape, f"{scope}/cell_output/reduction_{source}", epsilon)
    if shape != final:
        stack.reduce(final.channels, 2 if shape[:2] != final[:2] else 1)
    return Branch(source, stack.done())


def _aux(spec: NetworkSpec, cells: list[CellPlan]) -> AuxPlan | None:
    """Return the auxiliary head, after the last cell before the second reduction, or None."""
    if not spec.aux_head or spec.num_classes is None or spec.reductions < 2:
        return None
    number = spec.reduction_indices[1] - 1
    index = next((i for i, cell in enumerate(cells) if cell.scope == f"cell_{number}"), None)
    if index is None or min(cells[index].output[:2]) < 5:
        return None
    stack = Stack(cells[index].output, f"aux_{number}/aux_logits", spec.epsilon).relu().pool("avg", 5, 3, valid=True)
    stack.conv("proj", 128).batch_norm("aux_bn0").relu()
    stack.conv("Conv", 768, stack.shape[:2], valid=True).batch_norm("aux_bn1").relu()
    return AuxPlan(f"aux_{number}", index, stack.dense("FC", spec.num_classes).done())
