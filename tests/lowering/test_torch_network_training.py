"""The training graph: what tags, momentum, path dropout, dropout, the auxiliary head and frozen batch norm do."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pnasnet
from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.architecture.zoo import find
from pnasnet.errors import InputError
from pnasnet.lowering import torch_cells
from pnasnet.lowering.torch_cells import drop_examples
from pnasnet.lowering.torch_network import Network
from pnasnet.module.module import Module

from tests.helpers.golden_weights import draw, load

CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 0, "avg3", 1)])
SPEC = NetworkSpec(CELL, 3, 4, (16, 16), 5, stem="cifar", stem_multiplier=1.0)
IMAGES = torch.rand(6, 16, 16, 3, generator=torch.Generator().manual_seed(0))
PAGE = Path(__file__).parents[2] / "docs" / "training-graph.md"


def small(*, aux_head: bool = False, **changes: Any) -> Network:
    torch.manual_seed(0)
    return Network(resolve(replace(SPEC, **changes)), aux_head=aux_head).train()


def module(**options: Any) -> Module:
    torch.manual_seed(0)
    return Module(replace(SPEC, drop_path_keep=0.6), **options)


def state(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


# Batch normalization.


@pytest.mark.parametrize(("options", "momentum"), [({}, 0.99), ({"batch_norm_momentum": 0.75}, 0.75)])
def test_each_call_moves_the_averages_by_the_momentum(options: dict[str, Any], momentum: float) -> None:
    training = module(trainable=True, tags={"train"}, **options)
    seen: list[Tensor] = []
    norm = training.network.get_submodule("l1_stem_bn")
    norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach().transpose(0, 1).flatten(1)))
    training(IMAGES)
    training(IMAGES.flip(0) / 2)
    mean, variance = torch.zeros(4), torch.ones(4)
    for pixels in seen:
        mean = momentum * mean + (1 - momentum) * pixels.mean(1)
        variance = momentum * variance + (1 - momentum) * pixels.var(1)
    variables = training.variables
    np.testing.assert_allclose(variables["l1_stem_bn/moving_mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(variables["l1_stem_bn/moving_variance"], variance, rtol=1e-5)


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_an_impossible_momentum_is_refused(momentum: float) -> None:
    with pytest.raises(InputError, match="batch_norm_momentum must be from 0 to 1"):
        module(trainable=True, tags={"train"}, batch_norm_momentum=momentum)


def test_the_training_graph_that_may_not_change_changes_nothing() -> None:
    fixed = module(tags={"train"})
    before = state(fixed.network)
    call = {"images": IMAGES, "batch_norm_momentum": 0.0}
    first, second = (fixed(call, signature="image_feature_vector_with_bn_hparams") for _ in range(2))
    fixed.network.set_batch_norm_momentum(0.0)
    fixed(IMAGES)
    assert not torch.equal(first, second), "paths are dropped at random"
    torch.testing.assert_close(state(fixed.network), before, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in fixed.network.parameters())


def test_the_inference_graph_may_be_trained() -> None:
    trainable, inference = module(trainable=True), small(drop_path_keep=0.6).eval()
    before = state(trainable.network)
    features = trainable(IMAGES)
    torch.testing.assert_close(features, inference(IMAGES)["global_pool"])
    features.square().sum().backward()
    torch.testing.assert_close(state(trainable.network), before, rtol=0, atol=0)
    without = {name for name, p in trainable.network.named_parameters() if p.grad is None}
    assert without == {"final_layer.FC.weight", "final_layer.FC.bias"}


def test_frozen_batch_norm_normalizes_by_averages_that_stay() -> None:
    frozen, inference = small(), small().eval()
    frozen(IMAGES)
    inference.load_state_dict(frozen.state_dict())
    frozen.freeze_batch_norm()
    before = state(frozen)
    for _ in range(2):
        features = frozen.train()(IMAGES)["global_pool"]
        torch.testing.assert_close(features, inference(IMAGES)["global_pool"])
    assert frozen.training
    torch.testing.assert_close(state(frozen), before, rtol=0, atol=0)
    features.square().sum().backward()
    scale = frozen.get_parameter("cell_0.beginning_bn.weight").grad
    assert scale is not None
    assert scale.abs().sum() > 0
    frozen.freeze_batch_norm(False)
    frozen(IMAGES)
    assert not torch.equal(state(frozen)["l1_stem_bn.running_mean"], before["l1_stem_bn.running_mean"])


def test_a_module_takes_frozen_batch_norm() -> None:
    frozen = module(trainable=True, tags={"train"}, freeze_batch_norm=True)
    before = state(frozen.network)
    frozen(IMAGES).sum().backward()
    torch.testing.assert_close(state(frozen.network), before, rtol=0, atol=0)
    assert frozen.network.training
    with pytest.raises(InputError, match="trainable=True"):
        Module("pnasnet_tiny", freeze_batch_norm=True)


# L2 terms.


def test_the_l2_terms_of_a_module_add_up_to_tf_slims() -> None:
    spec = find("nasnet_cifar").spec
    variables = resolve(spec).variables(training=True)
    drawn = {n: np.ones(s, np.float32) if "/moving_" in n else draw(n, s) for n, s in variables.items()}
    training = Module(spec, drawn, trainable=True, tags={"train"})
    total = sum(term().item() for term in training.regularization_losses)
    assert total == pytest.approx(load("nasnet_cifar")["train/regularization_loss"].astype(float).item(), rel=1e-5)


def test_the_gradient_of_the_l2_terms_is_the_decayed_kernel() -> None:
    training = module(trainable=True, tags={"train"})
    torch.stack([term() for term in training.regularization_losses]).sum().backward()  # type: ignore[no-untyped-call]
    kernel = training.network.get_parameter("cell_0.1x1.weight")
    torch.testing.assert_close(kernel.grad, SPEC.weight_decay * kernel.detach())
    assert training.network.get_parameter("cell_0.beginning_bn.weight").grad is None


def test_the_gradients_of_the_l2_terms_are_added_to_existing_ones() -> None:
    losses = []
    for way in ("loss", "gradients"):
        network = small()
        network.get_parameter("final_layer.FC.weight").requires_grad_(False)
        loss = network(IMAGES, ("Logits",))["Logits"].square().sum()
        (loss + network.regularization_loss() if way == "loss" else loss).backward()
        if way == "gradients":
            network.add_regularization_gradients()
        losses.append({name: parameter.grad for name, parameter in network.named_parameters()})
    assert losses[0].keys() == losses[1].keys()
    assert losses[1]["final_layer.FC.weight"] is None
    for name, gradient in losses[0].items():
        torch.testing.assert_close(losses[1][name], gradient, msg=name)


# Path dropout and dropout.


def recorded_factors(patch: pytest.MonkeyPatch, network: Network, **options: Any) -> list[Tensor]:
    """Train a step; return what each example of each path was multiplied by, [batch], in order of the calls."""
    factors: list[Tensor] = []

    def record(path: Tensor, keep: Tensor) -> Tensor:
        out = drop_examples(path, keep)
        ratio = (out / path).detach().float().flatten(1)
        factors.append(ratio.nanmean(1))  # NaN where the path itself is 0
        spread = (ratio - factors[-1][:, None]).nan_to_num()
        assert spread.abs().max() < 0.01, "an example is kept or dropped as a whole"
        return out

    patch.setattr(torch_cells, "drop_examples", record)
    with torch.autocast("cpu", torch.bfloat16, **options):
        logits = network(torch.rand(400, 16, 16, 3), ("Logits",))["Logits"]
    logits.float().square().sum().backward()
    return factors


@pytest.mark.parametrize("way", ["plain", "autocast", "checkpointed"])
@pytest.mark.parametrize(("progress", "keeps"), [(1.0, (0.9, 0.8, 0.7)), (0.5, (0.95, 0.9, 0.85))])
def test_paths_are_kept_as_the_formula_says(
    monkeypatch: pytest.MonkeyPatch, way: str, progress: float, keeps: tuple[float, ...]
) -> None:
    network = small(drop_path_keep=0.7, filters=2)
    network.drop_path_progress.fill_(progress)
    network.checkpoint_cells = way == "checkpointed"
    factors = recorded_factors(monkeypatch, network, enabled=way == "autocast")
    paths = 3  # of a cell: all but the identity
    for index, keep in enumerate(keeps):
        drawn = torch.stack(factors[index * paths : (index + 1) * paths])
        share = (drawn > 0).float().mean().item()
        assert share == pytest.approx(keep, abs=4 * (keep * (1 - keep) / drawn.numel()) ** 0.5)
        torch.testing.assert_close(drawn[drawn > 0], torch.full_like(drawn[drawn > 0], 1 / keep), rtol=0.01, atol=0)
    first = factors[: 3 * paths]
    assert len({tuple((path > 0).tolist()) for path in first}) == 3 * paths, "each path is drawn on its own"
    again = {tuple(path.tolist()) for path in factors[3 * paths :]}
    # Checkpointing stops before a cell's last path, when it has what the gradients need.
    assert len(again) == (3 * (paths - 1) if way == "checkpointed" else 0)
    assert again <= {tuple(path.tolist()) for path in first}, "recomputed paths are dropped as they were"


def test_in_half_precision_a_rare_drop_stays_as_rare() -> None:
    torch.manual_seed(0)
    kept = drop_examples(torch.ones(200_000, 1, 1, 1, dtype=torch.bfloat16), torch.tensor(0.9985))
    assert (kept == 0).float().mean().item() == pytest.approx(0.0015, abs=4 * (0.0015 / 200_000) ** 0.5)


def test_fine_tuning_starts_at_the_final_rates_and_zero_progress_drops_nothing() -> None:
    network = module(trainable=True, tags={"train"}).network
    assert network.drop_path_progress.item() == 1
    assert not torch.equal(network(IMAGES)["global_pool"], network(IMAGES)["global_pool"])
    network.drop_path_progress.fill_(0)
    torch.testing.assert_close(network(IMAGES)["global_pool"], network(IMAGES)["global_pool"])


def test_dropout_stands_before_the_logits_alone() -> None:
    network = small(dropout_keep=0.75, filters=32)
    seen: list[Tensor] = []
    network.get_submodule("final_layer.FC").register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    outputs = network(IMAGES, ("global_pool", "Logits"))
    alive = outputs["global_pool"] > 0
    ratios = (seen[0] / outputs["global_pool"])[alive]
    torch.testing.assert_close(ratios[ratios > 0], torch.full_like(ratios[ratios > 0], 4 / 3))
    assert (ratios > 0).float().mean().item() == pytest.approx(0.75, abs=4 * (0.1875 / len(ratios)) ** 0.5)
    network.eval()(IMAGES, ("Logits",))
    torch.testing.assert_close(seen[1], network(IMAGES)["global_pool"])


# The auxiliary head.


def test_the_auxiliary_head_trains_the_cells_before_it() -> None:
    network = module(trainable=True, tags={"train"}).network
    logits = network(IMAGES, ("AuxLogits",))["AuxLogits"]
    assert logits.shape == (6, 5)
    logits.square().sum().backward()
    reached = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {"l1_stem_3x3", "l1_stem_bn", "cell_0", "cell_1", "aux_1"}
    assert not module(trainable=True).network.has_aux_head


# The page.


def test_the_pages_loop_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    trained = names["module"].variables
    before = pnasnet.Module("pnasnet_tiny").variables
    moved = {name for name in before if not np.array_equal(trained[name], before[name])}
    assert moved == set(before)
    assert pnasnet.Module(tmp_path / "mine.safetensors").model.spec.num_classes == 3
