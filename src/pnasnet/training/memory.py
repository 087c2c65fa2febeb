"""Estimates the memory of a training step: too large a batch is an error at the start, not a killed process."""

from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OutOfMemoryError
from ..lowering.torch_cells import Cell
from ..lowering.torch_network import Network
from ..lowering.torch_sizes import sharing_weights
from ..support.system import free_memory
from ..support.text import gigabytes
from .machine import Machine
from .recipe import Recipe, RmsProp

_SAMPLE = 2
"""Images in the traced batch."""

_GRADIENTS = 0.75
"""Gradients of maps that exist at the same time, as a fraction of the largest cell's stored activations. Measured on a
CPU: 0.65 if all are stored, 0.76 if cells are recomputed (pnasnet_mobile, 8 and 24 images)."""


@dataclass(frozen=True)
class StepMemory:
    """Memory of a step on one device, in bytes.

    Attributes:
        fixed: weights, their gradients and average, and the optimizer's state.
        per_image: activations stored for the backward pass, and gradients of maps.
    """

    fixed: int
    per_image: int

    def of(self, images: int) -> int:
        """Return the bytes of a step with this many images."""
        return self.fixed + self.per_image * images

    def images(self, available: int) -> int:
        """Return the number of images that fit."""
        return max((available - self.fixed) // self.per_image, 0)


def step_memory(network: Network, recipe: Recipe, machine: Machine) -> StepMemory:
    """Estimate the memory of a step at the recipe's largest image size, without running one.

    In bfloat16, maps have two bytes per number. Temporary buffers of cuDNN and oneDNN are left out.
    """
    size = max(recipe.sizes)
    own = network.plan.spec.image_size == (size, size)
    traced = deepcopy(network if own else sharing_weights(network, (size, size))).to("meta")
    weights = sum(p.numel() for p in network.parameters()) * 4
    buffers = sum(b.numel() * b.element_size() for b in network.buffers())
    # Weights, gradients and average, and the optimizer's state.
    copies = 3 + (2 if isinstance(recipe.optimizer, RmsProp) else 1)
    half = machine.precision == "bfloat16"
    kept = kept_for_backward(traced, size, half=half)
    maps = (kept.recomputing if machine.checkpoint_cells else kept.total) + _GRADIENTS * kept.largest_cell
    image = size * size * 3 * 4
    return StepMemory(weights * copies + 2 * buffers + (weights // 2 if half else 0), int(maps / _SAMPLE) + image)


@dataclass
class StoredTensors:
    """The storages that the backward pass needs, and the cells that created them."""

    half: bool
    own: set[int]
    """Addresses of parameters and buffers, which are not counted."""
    cell: str = ""
    """The cell that is running; empty outside of cells."""
    storages: dict[int, tuple[str, int, Any]] = field(default_factory=dict)
    """Address to cell, bytes, and the storage itself, which keeps its address from being reused."""
    outputs: int = 0
    """Bytes of the cells' outputs."""

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a tensor that autograd stores."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.own and storage._cdata not in self.storages:
            self.storages[storage._cdata] = self.cell, self._bytes(tensor, storage.nbytes()), storage
        return tensor

    def _bytes(self, tensor: Tensor, count: int) -> int:
        return count // 2 if self.half and tensor.dtype == torch.float32 else count

    def enter(self, name: str, *_: Any) -> None:
        """Record the start of a cell."""
        self.cell = name

    def leave(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Record the end of a cell, and count its output."""
        self.cell = ""
        self.outputs += self._bytes(output, output.untyped_storage().nbytes())

    @property
    def total(self) -> int:
        """Bytes of all storages."""
        return sum(size for _, size, _ in self.storages.values())

    def of_cells(self) -> dict[str, int]:
        """Return the bytes of each cell."""
        cells = {"": 0}
        for cell, size, _ in self.storages.values():
            cells[cell] = cells.get(cell, 0) + size
        return cells

    @property
    def largest_cell(self) -> int:
        """Bytes of the cell that stores the most."""
        return max(size for cell, size in self.of_cells().items() if cell)

    @property
    def recomputing(self) -> int:
        """Peak bytes if each cell is recomputed: the cells' outputs, and all of one cell."""
        return self.of_cells()[""] + self.outputs + self.largest_cell


def kept_for_backward(network: Network, size: int, *, half: bool) -> StoredTensors:
    """Return the tensors that a network on the meta device, whose tensors have no values, stores for two images."""
    network.checkpoint_cells = False
    tensors = [*network.parameters(), *network.buffers()]
    kept = StoredTensors(half, {tensor.untyped_storage()._cdata for tensor in tensors})
    for name, module in network.named_modules():
        if isinstance(module, Cell):
            module.register_forward_pre_hook(partial(kept.enter, name))
            module.register_forward_hook(kept.leave)
    images = torch.empty((_SAMPLE, size, size, 3), device="meta")
    endpoints = ("Logits", "AuxLogits") if network.has_aux_head else ("Logits",)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        network.train()(images, endpoints)
    return kept


def check_memory(network: Network, recipe: Recipe, machine: Machine, devices: int, device: torch.device) -> None:
    """Check that a step fits the free memory of `device`, one of `devices`.

    Raises `OutOfMemoryError` with a batch that fits. Does nothing if the free memory is unknown.
    """
    available = available_memory(device)
    if available is None:
        return
    if device.type == "cpu":
        available //= max(devices // machine.nodes, 1)  # they share it
    memory = step_memory(network, recipe, machine)
    images = recipe.batch_size // (devices * machine.parts)
    if memory.of(images) > available:
        raise OutOfMemoryError(_too_much(recipe, machine, devices, memory, available))


def _too_much(recipe: Recipe, machine: Machine, devices: int, memory: StepMemory, available: int) -> str:
    shares = devices * machine.parts
    needed, fits = memory.of(recipe.batch_size // shares), memory.images(available)
    each = "" if devices == 1 else f" on each of {devices} devices"
    ways = [f"a batch of {fits * shares} fits"] if fits > 1 else ["not even 2 images fit"]
    if parts := _parts(recipe.batch_size // devices, fits):
        ways.append(f"or compute it in {parts} parts (--parts {parts})")
    if not machine.checkpoint_cells:
        ways.append("or recompute cells (--checkpoint-cells)")
    return (
        f"a batch of {recipe.batch_size} needs about {gigabytes(needed)} of memory{each}, {gigabytes(available)} are "
        f"free: {'; '.join(ways)}"
    )


def _parts(images: int, fits: int) -> int | None:
    """Return the fewest equal parts that fit, at least two images each for batch normalization; None if none do."""
    return next((n for n in range(2, images // 2 + 1) if images % n == 0 and images // n <= fits), None)


# Free memory.


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that this process can still allocate on a device; None if unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type != "cpu":
        return None
    return free_memory()
