"""The contract of TF-Hub's image modules."""

import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pnasnet
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.errors import ImageError, InputError, UnknownNameError
from pnasnet.module.image_inputs import get_expected_image_size, get_num_image_channels
from pnasnet.module.module import Module

from tests.helpers.golden_weights import PHOTOS, draw, images, load, weights

HERE = Path(__file__).parents[1]
PICTURES = [HERE / "photos" / f"{photo}.jpg" for photo in PHOTOS]
HANDLE = "google/imagenet/nasnet_mobile"


def tiny(model: str = "pnasnet_tiny", **options: Any) -> Module:
    name = "nasnet_mobile" if "/" in model else model
    drawn = {n: np.abs(draw(n, s)) for n, s in resolve(find(name).spec).variables().items()}
    return Module(model, weights=drawn, **options)


@pytest.fixture(scope="module")
def golden() -> Module:
    return Module("nasnet_cifar", weights=weights("nasnet_cifar"))


def test_features_are_the_default_and_logits_a_signature(golden: Module) -> None:
    features, logits = golden(images(32)), golden(images(32), signature="image_classification")
    reference = load("nasnet_cifar")
    np.testing.assert_allclose(features, reference["endpoint/global_pool"], atol=1e-4 * features.max())
    np.testing.assert_allclose(logits, reference["endpoint/Logits"], atol=1e-4 * np.abs(logits).max())
    assert (features >= 0).all()


def test_as_dict_returns_every_endpoint(golden: Module) -> None:
    outputs = golden({"images": images(32)}, signature="image_classification", as_dict=True)
    assert list(outputs) == ["default", *golden.model.plan.endpoints()]
    np.testing.assert_array_equal(outputs["default"], outputs["Logits"])
    assert {n: (None, *v.shape[1:]) for n, v in outputs.items()} == {
        n: info.shape for n, info in golden.get_output_info_dict("image_classification").items()
    }


def test_torch_in_torch_out(golden: Module) -> None:
    features = golden(torch.from_numpy(images(32)))
    assert isinstance(features, torch.Tensor)
    np.testing.assert_array_equal(features.numpy(), golden(images(32)))


def test_an_empty_batch_has_an_empty_result(golden: Module) -> None:
    assert golden(np.zeros((0, 32, 32, 3), np.float32)).shape == (0, 768)


@pytest.mark.parametrize("folder", ["tiny_slim", "tiny_hub_tf1", "tiny_hub_tf2"])
@pytest.mark.parametrize("trainable", [False, True])
def test_real_files_have_tensorflows_features(folder: str, trainable: bool) -> None:
    expected = np.load(HERE / "checkpoints" / "tiny_expected.npz")
    module = Module(HERE / "checkpoints" / folder, image_size=(64, 64), trainable=trainable)
    features = module(expected["images"])
    np.testing.assert_allclose(features, expected["global_pool"], atol=1e-4 * expected["global_pool"].max())


def test_a_handle_has_the_signatures_of_its_module() -> None:
    features, classes = tiny(f"{HANDLE}/feature_vector/1"), tiny(f"{HANDLE}/classification/3")
    assert features.get_signature_names() == ["default", "image_feature_vector"]
    assert classes.get_signature_names() == ["default", "image_feature_vector", "image_classification"]
    assert features.get_output_info_dict()["default"].shape == (None, 1056)
    assert classes.get_output_info_dict()["default"].shape == (None, 1001)


def test_only_training_accepts_batch_norm_momentum() -> None:
    names = tiny(trainable=True, tags={"train"}).get_signature_names()
    assert names[-2:] == ["image_feature_vector_with_bn_hparams", "image_classification_with_bn_hparams"]
    with pytest.raises(UnknownNameError, match="unknown signature"):
        tiny(trainable=True)(images(32), signature="image_feature_vector_with_bn_hparams")


def test_inputs_are_described() -> None:
    module = tiny()
    info = module.get_input_info_dict()["images"]
    assert (info.shape, info.dtype) == ((None, 32, 32, 3), "float32")
    assert get_expected_image_size(module) == [32, 32]
    assert get_num_image_channels(module) == 3
    hparams = (tiny(trainable=True, tags={"train"}), "image_feature_vector_with_bn_hparams", "batch_norm_momentum")
    assert (get_expected_image_size(*hparams), get_num_image_channels(*hparams)) == ([], 0)
    with pytest.raises(ValueError, match="Module is missing input 'pictures' in signature 'default'"):
        get_expected_image_size(module, input_name="pictures")


GOOD = np.zeros((2, 32, 32, 3), np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (GOOD[0], r"\[32, 32, 3\] float32; expected \[batch, 32, 32, 3\].*add a batch dimension"),
        (GOOD[:, :31], r"\[2, 31, 32, 3\]"),
        (GOOD.transpose(0, 3, 1, 2), r"\[2, 3, 32, 32\]"),
        (GOOD.astype(np.uint8), "uint8.*divide by 255"),
        (GOOD.astype(np.float64), "float64"),
        (GOOD + 255, "values from 255 to 255"),
        (GOOD - 1, "values from -1 to -1"),
        (GOOD * np.float32("nan"), "images have NaN among their values; expected"),
        ("photo.jpg", "not str"),
        (types.SimpleNamespace(shape=(2, 32, 32, 3), dtype="float32", min=lambda: 0.0), "not SimpleNamespace"),
        ({"pictures": GOOD}, "accepts images; the call passed 'pictures'"),
        ({"images": GOOD, "batch_norm_momentum": 0.9}, "accepts images;"),
        (torch.zeros(2, 32, 32, 3, dtype=torch.float16), "float16"),
    ],
)
def test_wrong_images_are_refused_with_what_was_given(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny()(given)


def test_wrong_tags_and_signatures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"No such graph variant: tags=\['serve'\]"):
        tiny(tags={"serve"})
    assert tiny(tags=None).get_signature_names() == tiny(tags=[]).get_signature_names()
    with pytest.raises(UnknownNameError, match="did you mean image_feature_vector"):
        tiny()(GOOD, signature="image_features")


@pytest.mark.parametrize("tags", [(), ("train",)])
@pytest.mark.parametrize("trainable", [False, True])
def test_tags_and_trainable_are_independent(tags: tuple[str, ...], trainable: bool) -> None:
    if not tags and not trainable:
        with pytest.raises(InputError, match="trainable=True"):
            _ = tiny().network
        return
    module = tiny(tags=tags, trainable=trainable)
    before = module.variables
    features = module(torch.from_numpy(images(32)))
    after = module.variables
    moved = {n for n in before if not np.array_equal(before[n], after[n])}
    assert module.network.training == bool(tags)
    assert features.requires_grad == trainable
    assert bool(moved) == (bool(tags) and trainable)
    assert all("/moving_" in name for name in moved)
    assert bool(module.trainable_variables) == bool(module.regularization_losses) == trainable


def test_batch_norm_momentum_is_settable_in_a_call() -> None:
    module = tiny(tags={"train"}, trainable=True)
    call = {"images": images(32), "batch_norm_momentum": 0.0}
    outputs = module(call, signature="image_feature_vector_with_bn_hparams")
    assert outputs.shape == (4, 960)
    state = module.network.state_dict()
    stem = module.network.get_submodule("l1_stem_3x3")
    x = torch.from_numpy(images(32)).permute(0, 3, 1, 2) * 2 - 1
    x = torch.nn.functional.pad(x, (0, 1, 0, 1))  # the cell pads, not the module
    torch.testing.assert_close(state["l1_stem_bn.running_mean"], stem(x).mean((0, 2, 3)).detach())
    norms = [norm for norm in module.network.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    assert [norm.momentum for norm in norms] == pytest.approx([0.01] * len(norms))  # for that call alone


def test_batch_norm_momentum_is_a_number_below_one() -> None:
    module = tiny(tags={"train"}, trainable=True)
    for wrong in (1.0, -0.1, "x"):
        with pytest.raises(InputError, match="batch_norm_momentum must be "):
            module({"images": GOOD, "batch_norm_momentum": wrong}, signature="image_feature_vector_with_bn_hparams")


@pytest.mark.parametrize(
    ("option", "value"), [("engine", "openvino"), ("engine", "fake"), ("precision", "bfloat16"), ("threads", 1)]
)
def test_options_that_training_ignores_are_refused(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{option}.* is for inference"):
        tiny(trainable=True, **{option: value})


@pytest.mark.parametrize("trainable", [True, False])
def test_embed_does_not_change_a_module_to_train(trainable: bool) -> None:
    """Features are those of inference, and the network is unchanged."""
    module = tiny(tags={"train"}, trainable=trainable)
    before = module.variables
    np.testing.assert_allclose(module.embed(PICTURES[:2]), tiny().embed(PICTURES[:2]), rtol=1e-3, atol=1e-3)
    assert module.classify(PICTURES[0])[0][0][0] == tiny().classify(PICTURES[0])[0][0][0]
    assert module.network.training
    for name, value in module.variables.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_arrays_have_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    module, enabled = tiny(trainable=True), []
    module.network.register_forward_hook(lambda *_: enabled.append(torch.is_grad_enabled()))
    module(images(32))
    module(torch.from_numpy(images(32)))
    assert enabled == [False, True]


def test_a_module_to_train_has_no_engine() -> None:
    """It would have the weights of the file, not the trained ones."""
    module = tiny(trainable=True)
    for use in (lambda: module.engine, lambda: module.run(images(32), ["global_pool"])):
        with pytest.raises(InputError, match="a module to train has no engine: call it, or export it"):
            use()


def test_equal_endpoints_share_an_engine() -> None:
    module = tiny(engine="fake")
    with ThreadPoolExecutor(4) as pool:
        asked = [("Cell_0", "global_pool"), ("global_pool", "Cell_0")] * 4
        assert len(set(pool.map(module.engine_for, asked))) == 1
    assert list(module.run(images(32), ["global_pool", "Cell_0"])) == ["global_pool", "Cell_0"]
    engine = module.engine
    module.close()
    with pytest.raises(InputError, match="is closed"):
        engine.run(images(32))
    assert module(images(32)).shape == (4, 960)


def test_a_feature_vector_handle_with_a_new_classifier() -> None:
    module = tiny(f"{HANDLE}/feature_vector/3", num_classes=3, trainable=True, tags={"train"}, image_size=(32, 32))
    assert "image_classification" in module.get_signature_names()
    assert module(images(32), signature="image_classification").shape == (4, 3)


def test_a_classification_handle_needs_a_classifier() -> None:
    drawn = {n: np.abs(draw(n, s)) for n, s in resolve(find("nasnet_mobile").spec).variables().items()}
    features = {name: value for name, value in drawn.items() if not name.startswith("final_layer/")}
    with pytest.raises(InputError, match="this is a classification module, and the weights have no classifier"):
        Module(f"{HANDLE}/classification/1", weights=features)


def test_images_are_embedded_and_classified() -> None:
    module = tiny(image_size=(32, 32))
    features = module.embed([PICTURES[0], PICTURES[1].read_bytes(), str(PICTURES[2])], batch_size=2)
    assert features.shape == (3, 960)
    np.testing.assert_allclose(module.embed(PICTURES[1])[0], features[1], rtol=1e-5)
    top = module.classify(PICTURES[0], top=3)
    assert len(top) == 1
    assert [p for _, p in top[0]] == sorted((p for _, p in top[0]), reverse=True)
    with pytest.raises(ImageError, match=r"test_module\.py"):
        module.embed([PICTURES[0], Path(__file__)])


def test_an_exported_module_gives_the_same_features(tmp_path: Path) -> None:
    module = tiny(trainable=True)
    module.export(tmp_path / "own.safetensors")
    again = Module(tmp_path / "own.safetensors")
    np.testing.assert_allclose(again(images(32)), module(images(32)), rtol=1e-4, atol=1e-4)


def test_the_package_exports_its_public_names() -> None:
    assert all(getattr(pnasnet, name) is not None for name in pnasnet.__all__)
    assert {"Module", "images", "get_expected_image_size"} <= set(pnasnet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Modul'"):
        _ = pnasnet.Modul
