"""What torch offers for training works: checkpointing, layouts, autocast, compilers, copies, several processes."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.lowering.torch_cells import Cell, drop_examples
from pnasnet.lowering.torch_network import Network
from pnasnet.module.module import Module

CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 0, "avg3", 1)])
SPEC = NetworkSpec(CELL, 3, 4, (16, 16), 5, stem="cifar", stem_multiplier=1.0, drop_path_keep=0.6, dropout_keep=0.8)
IMAGES = torch.rand(8, 16, 16, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 5
OUTPUTS = ("Logits", "AuxLogits")
Run = Callable[..., Any]


def small(**changes: Any) -> Network:
    torch.manual_seed(0)
    return Network(resolve(replace(SPEC, **changes)), aux_head=True).train()


def loss_of(run: Run, images: Tensor = IMAGES, labels: Tensor = LABELS) -> Tensor:
    """Return the loss of both classifiers, with the same random numbers each time."""
    torch.manual_seed(1)
    outputs = run(images, OUTPUTS)
    return torch.stack([nn.functional.cross_entropy(outputs[name].float(), labels) for name in OUTPUTS]).sum()


def gradients(network: Network, run: Run | None = None) -> dict[str, Tensor]:
    """Return the gradients of all parameters; `run` is what to call, if not the network itself."""
    loss_of(network if run is None else run).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def assert_same_step(one: Network, other: Network, run: Run | None = None) -> None:
    """Fail unless both networks have the same gradients, for all parameters, and the same moving averages after it."""
    expected = gradients(one)
    assert set(expected) == {name for name, _ in one.named_parameters()}
    torch.testing.assert_close(gradients(other, run), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dict(other.named_buffers()), dict(one.named_buffers()))


# Gradient checkpointing.


@pytest.mark.parametrize("keep", [1.0, 0.6])
def test_checkpointing_changes_neither_gradients_nor_moving_averages(keep: float) -> None:
    plain, checkpointed = small(drop_path_keep=keep), small(drop_path_keep=keep)
    checkpointed.checkpoint_cells = True
    torch.testing.assert_close(gradients(checkpointed), gradients(plain))
    buffers = dict(checkpointed.named_buffers())
    torch.testing.assert_close(buffers, dict(plain.named_buffers()))
    assert {value.item() for name, value in buffers.items() if name.endswith("num_batches_tracked")} == {1}
    norm = checkpointed.get_submodule("cell_1.beginning_bn")
    assert norm.momentum == pytest.approx(0.01)


def stored_numbers(network: Network) -> int:
    """Return how many numbers the forward pass keeps for the backward pass, beside the parameters."""
    parameters, stored = {p.data_ptr() for p in network.parameters()}, list[int]()

    def pack(x: Tensor) -> Tensor:
        stored.append(0 if x.data_ptr() in parameters else x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        network(IMAGES)
    return sum(stored)


def test_checkpointing_recomputes_each_cell_instead_of_storing_it() -> None:
    network, runs = small(), list[str]()
    network.checkpoint_cells = True
    for name, cell in network.named_modules():
        if isinstance(cell, Cell):
            cell.get_submodule("1x1").register_forward_hook(lambda *_, name=name: runs.append(name))
    loss = loss_of(network)
    assert runs == ["cell_0", "cell_1", "cell_2"]
    loss.backward()  # type: ignore[no-untyped-call]
    assert runs == ["cell_0", "cell_1", "cell_2", "cell_2", "cell_1", "cell_0"]
    assert stored_numbers(network) < stored_numbers(small()) / 4


# Layout and precision.


def layouts_seen(network: Network, memory_format: torch.memory_format) -> list[bool]:
    """Return, for the output of each layer, whether it has the requested layout."""
    seen: list[bool] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, __, out: seen.append(out.is_contiguous(memory_format=memory_format)))
    loss_of(network)
    return seen


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_activations_and_kernels_have_the_requested_layout(memory_format: torch.memory_format) -> None:
    network = small()
    network.use_memory_format(memory_format)
    seen = layouts_seen(network, memory_format)
    assert seen
    assert all(seen)
    kernels = [p for p in network.parameters() if p.ndim == 4]
    assert all(kernel.is_contiguous(memory_format=memory_format) for kernel in kernels)


def test_activations_are_channels_last_by_default() -> None:
    assert all(layouts_seen(small(), torch.channels_last))


def test_channels_last_changes_no_result() -> None:
    last, first = small(), small()
    last.use_memory_format(torch.channels_last)
    first.use_memory_format(torch.contiguous_format)
    assert_same_step(first, last)


def test_a_module_to_train_is_channels_last() -> None:
    stem = Module(SPEC, trainable=True, tags={"train"}).network.get_parameter("l1_stem_3x3.weight")
    assert stem.is_contiguous(memory_format=torch.channels_last)
    assert not stem.is_contiguous()


def test_bfloat16_autocast_gives_nearly_the_same_gradients() -> None:
    exact, half = small(), small()
    expected = gradients(exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert half(IMAGES, ("Logits",))["Logits"].dtype == torch.bfloat16
        loss = loss_of(half)
    assert loss.isfinite()
    loss.backward()  # type: ignore[no-untyped-call]
    wanted = torch.cat([g.flatten() for g in expected.values()])
    given = torch.cat([p.grad.flatten() for p in half.parameters() if p.grad is not None])
    assert nn.functional.cosine_similarity(wanted, given, 0) > 0.99


# Compilers.


@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_whole_step_is_one_graph(checkpointed: bool) -> None:
    torch.compiler.reset()  # what was compiled for other sizes before would make these sizes symbols
    eager, network = small(num_cells=2), small(num_cells=2)
    network.checkpoint_cells = checkpointed
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(network, backend=counter, fullgraph=True)
    assert_same_step(eager, network, compiled)
    network.drop_path_progress.fill_(0.5)
    eager.drop_path_progress.fill_(0.5)
    torch.testing.assert_close(loss_of(compiled), loss_of(eager))
    assert counter.frame_count == 1, "another progress compiles nothing again"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the compiler's own
def test_the_compiled_network_agrees_with_eager() -> None:
    eager, network = (small(num_cells=2, reductions=1, dropout_keep=1.0) for _ in range(2))
    outputs = []
    with torch._inductor.config.patch(fallback_random=True):  # the same random numbers as eager
        for run in (eager, torch.compile(network, fullgraph=True)):
            torch.manual_seed(1)
            outputs.append(run(IMAGES, ("Logits",))["Logits"])
            outputs[-1].square().sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(eager.named_parameters(), network.parameters(), strict=True):
        assert a.grad is not None
        scale = a.grad.abs().max().item()
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-5 * scale, msg=name)
    torch.testing.assert_close(dict(network.named_buffers()), dict(eager.named_buffers()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_paths_are_dropped_each_on_its_own() -> None:
    keep, path = torch.tensor(0.7), torch.ones(2000, 2, 3, 3)
    compiled = torch.compile(lambda x: (drop_examples(x, keep), drop_examples(x, keep)), fullgraph=True)
    masks = []
    for dropped in (*compiled(path), *compiled(path)):
        factors = dropped.flatten(1)
        assert (factors == factors[:, :1]).all()
        torch.testing.assert_close(torch.unique(factors), torch.tensor([0, 1 / 0.7]))
        masks.append(factors[:, 0] > 0)
    assert len({tuple(mask.tolist()) for mask in masks}) == 4
    assert torch.stack(masks).float().mean().item() == pytest.approx(0.7, abs=4 * (0.21 / 8000) ** 0.5)


# Copies, and modules that others put in.


def test_a_copy_shares_nothing_with_the_network() -> None:
    network = small().eval()
    nn.init.normal_(network.get_parameter("final_layer.FC.bias"))
    average = AveragedModel(network)
    expected = network(IMAGES, ("Logits",))["Logits"]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.testing.assert_close(average(IMAGES, ("Logits",))["Logits"], expected)
    assert (network(IMAGES, ("Logits",))["Logits"] == 0).all()


def test_networks_are_copied_and_pickled_whole() -> None:
    network = small().eval()
    expected = network(IMAGES, OUTPUTS)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(IMAGES, OUTPUTS), expected)


def test_synchronized_batch_norm_takes_the_place_of_the_plain_one() -> None:
    network, runs = small(), list[nn.Module]()
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    norms = [norm for norm in network.modules() if isinstance(norm, nn.SyncBatchNorm)]
    for norm in norms:
        norm.register_forward_hook(lambda norm, *_: runs.append(norm))
    network.set_batch_norm_momentum(0.5)
    torch.testing.assert_close(loss_of(network), loss_of(small()))
    assert set(runs) == set(norms)
    assert len(norms) == sum(isinstance(m, nn.BatchNorm2d) for m in small().modules())
    assert {norm.momentum for norm in norms} == {0.5}
    network.freeze_batch_norm()
    assert not any(norm.training for norm in norms)


# Several processes.


def train_in_two(rank: int, folder: Path) -> None:
    """Be one of two processes: save the averaged gradients of half a batch each, then what two steps make of it."""
    torch.set_num_threads(1)
    # Whoever waits in vain for the other fails, and does not stand still.
    where, patience = f"file://{folder / 'rendezvous'}", timedelta(seconds=60)
    torch.distributed.init_process_group("gloo", where, timeout=patience, world_size=2, rank=rank)
    network = small(drop_path_keep=1.0, dropout_keep=1.0)
    network.freeze_batch_norm()
    parallel = DistributedDataParallel(network)
    half = slice(4 * rank, 4 * rank + 4)
    loss_of(parallel, IMAGES[half], LABELS[half]).backward()  # type: ignore[no-untyped-call]
    torch.save([p.grad for p in network.parameters()], folder / f"gradients_{rank}.pt")
    network.freeze_batch_norm(False)
    network.checkpoint_cells = True
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(parallel, IMAGES[half], LABELS[half]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.save([p.detach() for p in network.parameters()], folder / f"trained_{rank}.pt")
    torch.distributed.barrier()  # neither leaves while the other still talks to it
    torch.distributed.destroy_process_group()


def test_two_processes_average_the_gradients_of_their_halves(tmp_path: Path) -> None:
    spawn(train_in_two, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    network = small(drop_path_keep=1.0, dropout_keep=1.0)
    network.freeze_batch_norm()
    expected = list(gradients(network).values())
    for rank in range(2):
        averaged = torch.load(tmp_path / f"gradients_{rank}.pt")
        torch.testing.assert_close(averaged, expected, rtol=1e-4, atol=1e-6)
    trained = [torch.load(tmp_path / f"trained_{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(trained[0], trained[1], rtol=0, atol=0)
    assert not torch.equal(trained[0][0], next(network.parameters()))
