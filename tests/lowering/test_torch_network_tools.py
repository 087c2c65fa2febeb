"""The torch network in other hands: copies, files, tracing, exporting, function transforms, other image sizes."""

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import InputError, SpecError
from pnasnet.lowering.torch_network import Network
from pnasnet.lowering.torch_sizes import sharing_weights
from pnasnet.module.module import Module

# Both kinds of halving, padding that torch's convolutions lack, pooling over the edge, and maps of odd size.
CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 0, "avg3", 1), ("dil3", 2, "conv1x3_3x1", 0)])
SPEC = NetworkSpec(CELL, 3, 4, (18, 21), 5, CELL, stem="cifar", stem_multiplier=1.0, drop_path_keep=0.6)
IMAGES = torch.rand(4, 18, 21, 3, generator=torch.Generator().manual_seed(0))
ENDPOINTS = ("Cell_1", "global_pool", "Logits")


def network() -> Network:
    torch.manual_seed(0)
    return Network(resolve(SPEC))


def saved_by(protocol: int) -> Callable[[Network], Network]:
    def save_and_load(original: Network) -> Network:
        file = io.BytesIO()
        torch.save(original, file, pickle_protocol=protocol)
        file.seek(0)
        loaded: Network = torch.load(file, weights_only=False)
        return loaded

    return save_and_load


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        saved_by(torch.serialization.DEFAULT_PROTOCOL),
        saved_by(pickle.HIGHEST_PROTOCOL),
        *(lambda n, p=p: pickle.loads(pickle.dumps(n, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_copies_are_whole_and_on_their_own(copied: Callable[[Network], Network]) -> None:
    original = network().eval()
    original.drop_path_progress.fill_(0.25)
    expected = original(IMAGES, ENDPOINTS)
    other = copied(original)
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.zero_()
    torch.testing.assert_close(other(IMAGES, ENDPOINTS), expected, rtol=0, atol=0)
    assert other.drop_path_progress.item() == 0.25


def test_progress_of_drop_path_is_part_of_the_state_dict() -> None:
    first, second = network(), network()
    first.drop_path_progress.fill_(0.25)
    second.load_state_dict(first.state_dict())
    assert second.drop_path_progress.item() == 0.25


def test_state_dict_of_weights_alone_loads() -> None:
    """As earlier versions saved it; also for a network inside another module."""
    weights = {name: value for name, value in network().state_dict().items() if name != "drop_path_progress"}
    given = dict(weights)
    assert str(network().load_state_dict(given)) == "<All keys matched successfully>"
    assert given.keys() == weights.keys()
    inner = network()
    inner.drop_path_progress.fill_(0.5)
    nn.Sequential(inner).load_state_dict({f"0.{name}": value for name, value in weights.items()})
    assert inner.drop_path_progress.item() == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_progress_of_drop_path_survives_to_empty(wrapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def garbage(tensor: Tensor, **options: Any) -> Tensor:
        return torch.full(tensor.shape, 7, dtype=tensor.dtype, device=options.get("device"))

    monkeypatch.setattr(torch, "empty_like", garbage)
    with torch.device("meta"):
        made = network()
    kept = network()
    kept.drop_path_progress.fill_(0.25)
    for each, expected in ((made, 1), (kept, 0.25)):
        (nn.Sequential(each) if wrapped else each).to_empty(device="cpu")
        assert all(bool((parameter == 7).all()) for parameter in each.parameters())
        assert each.drop_path_progress.item() == expected


class Logits(nn.Module):
    """What most tools expect: a tensor in, a tensor out."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images, ("Logits",))["Logits"]
        return logits


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # the checks of sizes are constants of a trace
def test_traced_networks_are_saved(tmp_path: Path) -> None:
    plain = Logits().eval()
    torch.jit.trace(plain, IMAGES).save(tmp_path / "traced.pt")  # type: ignore[no-untyped-call]
    loaded = torch.jit.load(tmp_path / "traced.pt")  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loaded(IMAGES), plain(IMAGES))
    loaded(IMAGES).sum().backward()


@pytest.mark.parametrize("training", [False, True])
def test_exported_programs_agree(training: bool) -> None:
    plain = Logits().train(training)
    plain.network.drop_path_progress.fill_(0)  # no random paths
    program = torch.export.export(plain, (IMAGES,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=2)}})
    run = program.module()
    for images in (IMAGES, IMAGES[:2], IMAGES.repeat(2, 1, 1, 1)):
        torch.testing.assert_close(run(images), plain(images), rtol=1e-4, atol=1e-5)


def test_gradients_of_each_image_by_vmap_are_those_of_each_alone() -> None:
    plain = Logits().eval()
    parameters = {name: value.detach() for name, value in plain.named_parameters()}

    def loss(values: dict[str, Tensor], image: Tensor) -> Tensor:
        logits: Tensor = functional_call(plain, values, (image[None],))
        return logits.square().sum()

    together = vmap(grad(loss), (None, 0))(parameters, IMAGES)
    for index, image in enumerate(IMAGES):
        alone = grad(loss)(parameters, image)
        torch.testing.assert_close({n: v[index] for n, v in together.items()}, alone, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    exact = Network(resolve(replace(SPEC, num_cells=2, reductions=1, filters=2, image_size=(5, 6), num_classes=2)))
    exact.double().eval()
    images = torch.rand(1, 5, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: exact(x, ("Logits",))["Logits"], images)


@pytest.mark.parametrize("size", [(19, 21), (18, 22), (36, 42), (21, 18), (17, 20)])
def test_another_size_than_the_plans_is_refused(size: tuple[int, int]) -> None:
    """TensorFlow pads each size in its own way: silently, such images would come out wrong."""
    images = torch.rand(2, *size, 3)
    message = rf"images are {size[0]}x{size[1]}, but the network is planned for 18x21: resize them, or use .*sharing_w"
    for training in (False, True):
        with pytest.raises(InputError, match=message):
            network().train(training)(images)
    replanned = sharing_weights(network().eval(), size)
    expected = Network(resolve(replace(SPEC, image_size=size))).eval()
    expected.load_state_dict(network().state_dict())
    torch.testing.assert_close(replanned.eval()(images, ENDPOINTS), expected(images, ENDPOINTS))


@pytest.mark.parametrize(
    "images", [IMAGES[0], IMAGES.permute(0, 3, 1, 2), (IMAGES * 255).byte(), IMAGES[..., :1], IMAGES[None]]
)
def test_inputs_that_are_not_images_are_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"images must be \[batch, 18, 21, 3\], float in \[0, 1\], not \["):
        network()(images)


def test_network_of_numpys_numbers_is_trained_saved_and_opened(tmp_path: Path) -> None:
    classes = np.array([0, 2]).max() + 1
    module = Module("pnasnet_tiny", num_classes=classes, trainable=True, tags={"train"})
    module(torch.rand(2, 32, 32, 3), signature="image_classification").sum().backward()
    module.export(tmp_path / "mine.safetensors")
    assert Module(tmp_path / "mine.safetensors").model.spec.num_classes == 3
    for wrong in (2.0, "3", True):
        with pytest.raises(SpecError, match="num_classes must be a whole number"):
            Module("pnasnet_tiny", num_classes=wrong, trainable=True)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="images of 4x5 are too small for this network: use at least 5x5"):
        Module("pnasnet_tiny", image_size=(4, 5))
