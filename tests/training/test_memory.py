"""Memory of a step: the estimate, the error if it is too much, and free memory on Linux."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pnasnet.errors import OutOfMemoryError
from pnasnet.training.fit import fit
from pnasnet.training.memory import (
    StepMemory,
    available_memory,
    check_memory,
    kept_for_backward,
    step_memory,
)
from pnasnet.training.recipe import RmsProp
from pnasnet.training.task import initial_network

from tests.helpers.train_data import MACHINE, RECIPE, training_pictures

CPU = torch.device("cpu")
NETWORK = initial_network(RECIPE)


def test_fixed_part_is_weights_gradients_average_and_the_optimizers_state() -> None:
    numbers = sum(p.numel() for p in NETWORK.parameters())
    buffers = sum(b.numel() * b.element_size() for b in NETWORK.buffers())
    assert step_memory(NETWORK, RECIPE, MACHINE).fixed == 16 * numbers + 2 * buffers
    assert step_memory(NETWORK, replace(RECIPE, optimizer=RmsProp()), MACHINE).fixed == 20 * numbers + 2 * buffers


def saved(images: int) -> int:
    """Return the bytes that autograd really stores for a batch, counted on the CPU."""
    own = {t.untyped_storage().data_ptr() for t in (*NETWORK.parameters(), *NETWORK.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        NETWORK.train()(torch.rand(images, 16, 16, 3), ("Logits",))
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


def test_stored_activations_are_those_of_autograd() -> None:
    kept = kept_for_backward(deepcopy(NETWORK).to("meta"), 16, half=False)
    assert kept.total == saved(2)
    assert kept.total / 2 == pytest.approx((saved(32) - saved(16)) / 16, rel=0.1)
    assert kept.outputs < kept.largest_cell < kept.recomputing < kept.total
    assert kept.total < 2 * step_memory(NETWORK, RECIPE, MACHINE).per_image < 1.6 * kept.total


def test_measuring_changes_nothing() -> None:
    network = initial_network(RECIPE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    step_memory(network, RECIPE, MACHINE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_less_with_recomputed_cells_smaller_images_and_bfloat16() -> None:
    whole = step_memory(NETWORK, RECIPE, MACHINE)
    assert step_memory(NETWORK, RECIPE, replace(MACHINE, checkpoint_cells=True)).per_image < 0.9 * whole.per_image
    small = step_memory(NETWORK, replace(RECIPE, stages=((8, 1),)), MACHINE)
    assert small.per_image == pytest.approx(whole.per_image / 4, rel=0.1)
    half = step_memory(NETWORK, RECIPE, replace(MACHINE, precision="bfloat16"))
    assert 0.5 * whole.per_image < half.per_image < 0.75 * whole.per_image
    assert half.fixed > whole.fixed


def test_images_that_fit() -> None:
    memory = StepMemory(1000, 10)
    assert memory.of(8) == 1080
    assert [memory.images(n) for n in (1079, 1080, 999, 0)] == [7, 8, 0, 0]


@pytest.mark.parametrize(
    ("images", "changes", "devices", "message"),
    [
        (5, {}, 1, "a batch of 8 needs about . of memory, . are free: a batch of 5 fits; or compute it in 2 parts "
         "(--parts 2); or recompute cells (--checkpoint-cells)"),
        (3, {"checkpoint_cells": True}, 1, "a batch of 3 fits; or compute it in 4 parts (--parts 4)"),
        (1, {}, 1, "not even 2 images fit; or recompute cells (--checkpoint-cells)"),
        (2, {"parts": 2}, 1, "a batch of 4 fits; or compute it in 4 parts (--parts 4); or recompute"),
        (2, {}, 2, " of memory on each of 2 devices, . are free: a batch of 4 fits; or compute it in 2 parts"),
    ],
)  # fmt: skip
def test_too_little_memory_suggests_a_batch_that_fits(
    monkeypatch: pytest.MonkeyPatch, images: int, changes: dict[str, Any], devices: int, message: str
) -> None:
    machine = replace(MACHINE, **changes)
    memory = step_memory(NETWORK, RECIPE, machine)
    monkeypatch.setattr(
        "pnasnet.training.memory.available_memory", lambda device: devices * memory.of(images) + devices
    )
    monkeypatch.setattr("pnasnet.training.memory.gigabytes", lambda count: ".")
    with pytest.raises(OutOfMemoryError) as caught:
        check_memory(NETWORK, RECIPE, machine, devices, CPU)
    assert message in str(caught.value)


def test_enough_or_unknown_memory_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    enough = step_memory(NETWORK, RECIPE, MACHINE).of(8)
    for available in (enough, None):
        monkeypatch.setattr("pnasnet.training.memory.available_memory", lambda device, free=available: free)
        check_memory(NETWORK, RECIPE, MACHINE, 1, CPU)


def test_a_training_that_does_not_fit_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pnasnet.training.memory.available_memory", lambda device: 10)
    with pytest.raises(OutOfMemoryError, match=r"a batch of 8 needs about .* 1e-08 GB are free: not even 2 images fit"):
        fit(RECIPE, initial_network(RECIPE), training_pictures(), None, tmp_path, MACHINE)


def test_this_machine_has_free_memory() -> None:
    available = available_memory(CPU)
    assert available is None or 1e6 < available < 1e14
