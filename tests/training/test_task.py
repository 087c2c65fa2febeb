"""One step's loss, and the learning rates of the optimizer's groups."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from pnasnet.architecture.plan import resolve
from pnasnet.errors import InputError
from pnasnet.lowering.torch_network import Network
from pnasnet.training.recipe import Cosine, Muon, Recipe
from pnasnet.training.task import ClassifierTask, initial_network

from tests.helpers.train_data import RECIPE

PLAIN = replace(RECIPE, stages=((16, 2),), spec=replace(RECIPE.spec, drop_path_keep=1.0))


def parts(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> tuple[ClassifierTask, dict[str, float]]:
    """Return a task outside of a trainer, and the figures that it logs."""
    logged: dict[str, float] = {}
    task = ClassifierTask(initial_network(recipe), recipe, 4)
    monkeypatch.setattr(task, "log", lambda name, value, **_: logged.__setitem__(name, float(value.detach())))
    monkeypatch.setattr(task, "_check", lambda loss: None)
    return task.train(), logged


def batch(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((8, size, size, 3), generator=generator), torch.arange(8) % 2


def test_first_weights_depend_on_the_seed_alone() -> None:
    one, again, other = (initial_network(replace(RECIPE, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["l1_stem_3x3.weight"], other["l1_stem_3x3.weight"])


def test_loss_is_cross_entropy_with_smoothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task, logged = parts(replace(PLAIN, label_smoothing=0.2), monkeypatch)
    images, labels = batch()
    logits = initial_network(PLAIN).train()(images, ("Logits",))["Logits"]
    likelihoods = functional.log_softmax(logits, 1)
    entropy = -(0.9 * likelihoods[torch.arange(8), labels] + 0.1 * likelihoods[torch.arange(8), 1 - labels]).mean()
    assert task.training_step((images, labels), 0).item() == pytest.approx(entropy.item(), rel=1e-5)
    assert logged["loss"] == pytest.approx(entropy.item(), rel=1e-5)


def test_class_weights_weigh_the_loss_and_the_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.tensor([0.5, 3.0])
    task, logged = parts(replace(PLAIN, class_weights=(0.5, 3.0)), monkeypatch)
    monkeypatch.setattr(ClassifierTask, "trainer", SimpleNamespace(strategy=SimpleNamespace(reduce=lambda t, **_: t)))
    images, labels = batch()
    losses = functional.cross_entropy(
        initial_network(PLAIN).train()(images, ("Logits",))["Logits"], labels, reduction="none"
    )
    task.training_step((images, labels), 0)
    assert logged["loss"] == pytest.approx((losses * weights[labels]).mean().item(), rel=1e-5)
    logits = task.eval().network(images, ("Logits",))["Logits"]
    labels[:3] = -1
    task.on_validation_epoch_start()
    task.validation_step((images, labels), 0)
    task.on_validation_epoch_end()
    expected = functional.cross_entropy(logits[3:], labels[3:], weights).item()
    assert logged["validation_loss"] == pytest.approx(expected, rel=1e-5)
    right = (logits.argmax(1) == labels)[3:]
    recalls = [right[labels[3:] == label].float().mean().item() for label in (0, 1)]
    assert logged["validation_recall"] == pytest.approx(sum(recalls) / 2)
    assert not any("class_weights" in name for name in task.state_dict())


def test_auxiliary_loss_has_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(PLAIN.spec, image_size=(32, 32), num_cells=3, reductions=2, aux_head=True)
    recipe = replace(PLAIN, spec=spec, stages=((32, 1),), aux_weight=0.3)
    losses = [parts(replace(recipe, aux_weight=w), monkeypatch)[0].training_step(batch(32), 0) for w in (0.0, 0.3)]
    network = Network(resolve(spec), aux_head=True)
    network.load_state_dict(initial_network(recipe).state_dict())
    logits = network.train()(batch(32)[0], ("AuxLogits",))["AuxLogits"]
    added = 0.3 * functional.cross_entropy(logits, batch()[1]).item()
    assert (losses[1] - losses[0]).item() == pytest.approx(added, rel=1e-4)


def test_path_dropout_rises_with_the_steps_or_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = parts(RECIPE, monkeypatch)
    task.training_step(batch(), 0)
    assert task.network.drop_path_progress.item() == 0
    task, _ = parts(replace(RECIPE, drop_path_rises=False), monkeypatch)
    task.training_step(batch(), 0)
    assert task.network.drop_path_progress.item() == 1


def test_validation_counts_only_labelled_images(monkeypatch: pytest.MonkeyPatch) -> None:
    task, logged = parts(PLAIN, monkeypatch)
    monkeypatch.setattr(ClassifierTask, "trainer", SimpleNamespace(strategy=SimpleNamespace(reduce=lambda t, **_: t)))
    images, labels = batch()
    logits = task.eval().network(images, ("Logits",))["Logits"]
    task.on_validation_epoch_start()
    task.validation_step((images, torch.where(torch.arange(8) < 5, labels, -1)), 0)
    task.validation_step((images[5:7], labels[5:7]), 1)
    task.validation_step((images, torch.full((8,), -1)), 2)
    task.on_validation_epoch_end()
    assert logged["validation_loss"] == pytest.approx(functional.cross_entropy(logits[:7], labels[:7]).item(), rel=1e-5)
    assert logged["validation_top1"] == pytest.approx(int((logits.argmax(1) == labels)[:7].sum()) / 7)


def test_rates_follow_the_schedule_and_the_depth() -> None:
    recipe = replace(PLAIN, schedule=Cosine(0.4), layer_decay=0.5)
    task = ClassifierTask(initial_network(recipe), recipe, 4)
    configured = task.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(9):
        rates.append(sorted({group["lr"] for group in optimizer.param_groups}))
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx([0.4 / 8, 0.4 / 4, 0.4 / 2, 0.4])
    assert rates[4] == pytest.approx([0.2 / 8, 0.2 / 4, 0.2 / 2, 0.2])
    assert rates[8] == pytest.approx([0.0])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(task.network.parameters()))


def test_muon_has_decay_and_rates_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels shrink by its decay, the others have the network's L2 term; the gradients have neither."""
    recipe = replace(PLAIN, schedule=Cosine(0.4), optimizer=Muon(decay=0.3, others=2.0))
    task, _ = parts(recipe, monkeypatch)
    optimizer = task.configure_optimizers()["optimizer"]
    kernels = {id(p): name for name, p in task.network.named_parameters()}
    groups = [({kernels[id(p)].rpartition(".")[0] for p in group["params"]}, group) for group in optimizer.param_groups]
    rules = {
        name: (group["lr"], group["weight_decay"])
        for names, group in groups
        for name in names
        if group["orthogonal"] or group["weight_decay"]
    }
    assert rules["cell_0.comb_iter_0.left.separable_3x3_1.pointwise"] == (0.4, 0.3)
    assert rules["cell_0.comb_iter_0.left.separable_3x3_1.depthwise"] == (0.8, recipe.spec.weight_decay)
    assert rules["final_layer.FC"] == (0.8, recipe.spec.weight_decay)
    assert not any("bn_" in name for name in rules)
    task.training_step(batch(), 0).backward()  # type: ignore[no-untyped-call]
    gradient = task.network.get_parameter("l1_stem_3x3.weight").grad
    assert isinstance(gradient, torch.Tensor)
    before = gradient.clone()
    task.on_before_optimizer_step(optimizer)
    assert torch.equal(gradient, before)


def test_frozen_averages_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = parts(replace(RECIPE, freeze_batch_norm=True), monkeypatch)
    before = {name: value.clone() for name, value in task.state_dict().items() if "running" in name}
    for size in (8, 16):
        task.training_step(batch(size), 0)
    assert all(torch.equal(value, task.state_dict()[name]) for name, value in before.items())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, on its first compilation
def test_compiling_keeps_names_and_needs_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = parts(PLAIN, monkeypatch)
    names = list(task.state_dict())
    task.compile_network()
    assert list(task.state_dict()) == names
    with pytest.raises(InputError, match="a compiled network has one image size"):
        parts(RECIPE, monkeypatch)[0].compile_network()
