"""Modules to train: modes, gradients, and what their calls leave as it was; and engines closed during calls."""

import logging
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet import Module
from pnasnet.errors import InputError

PHOTO = next((Path(__file__).parents[1] / "photos").glob("*.jpg"))
IMAGES = torch.from_numpy(np.random.default_rng(0).random((4, 32, 32, 3), np.float32))


def trainable(**options: Any) -> Module:
    return Module("pnasnet_tiny", trainable=True, **options)


def moved(module: Module, before: Any) -> set[str]:
    return {name for name, value in module.variables.items() if not np.array_equal(value, before[name])}


@pytest.mark.parametrize("tags", [(), {"train"}])
@pytest.mark.parametrize("training", [True, False, None])
def test_the_argument_training_sets_the_mode_of_a_call(tags: Any, training: bool | None) -> None:
    module = trainable(tags=tags)
    before, mode = module.variables, module.network.training
    module(IMAGES, training=training)
    updates = bool(tags) if training is None else training
    assert bool(moved(module, before)) == updates
    assert all("/moving_" in name for name in moved(module, before))
    assert module.network.training == mode


def test_a_call_in_training_mode_equals_the_training_graph() -> None:
    features = trainable()(IMAGES, training=True)
    torch.testing.assert_close(features, trainable(tags={"train"})(IMAGES))
    assert not torch.allclose(features, trainable()(IMAGES, training=False), rtol=1e-2)


def test_a_module_for_inference_cannot_train() -> None:
    module = Module("pnasnet_tiny")
    assert module(IMAGES.numpy(), training=False).shape == (4, 960)
    with pytest.raises(InputError, match="open it with trainable=True to pass training=True"):
        module(IMAGES.numpy(), training=True)


def test_recomputed_cells_need_the_mode_of_the_network() -> None:
    module = trainable()
    module.network.checkpoint_cells = True
    with pytest.raises(InputError, match=r"call module\.network\.train\(\) instead"):
        module(IMAGES, training=True)
    module.network.train()
    module(IMAGES, training=True).sum().backward()


def test_training_in_inference_mode_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    module = trainable()
    with caplog.at_level(logging.INFO, "pnasnet"):
        module(IMAGES.numpy())
        with torch.no_grad():
            module(IMAGES)
        assert not caplog.messages
        for _ in range(3):
            module(IMAGES)
    assert len(caplog.messages) == 1
    assert "pnasnet_tiny runs in inference mode" in caplog.messages[0]
    assert "training=True" in caplog.messages[0]


@pytest.mark.parametrize("way", [{"training": False}, {"training": True}])
def test_a_requested_mode_is_not_logged(way: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pnasnet"):
        trainable()(IMAGES, **way)
        trainable(tags={"train"})(IMAGES)
    assert not [message for message in caplog.messages if "inference mode" in message]


@pytest.mark.parametrize("frozen", [False, True])
def test_embed_restores_the_mode_of_every_part(frozen: bool) -> None:
    module = trainable(tags={"train"}, freeze_batch_norm=frozen)
    module.network.get_submodule("cell_0").eval()
    modes = {name: part.training for name, part in module.network.named_modules()}
    assert len(set(modes.values())) == 2
    module.embed(PHOTO)
    module.classify(PHOTO)
    module(IMAGES, training=False)
    assert {name: part.training for name, part in module.network.named_modules()} == modes


def test_gradients_reach_the_images() -> None:
    module = trainable()
    images = IMAGES.clone().requires_grad_()
    weights = torch.linspace(0, 1, 960)
    (module(images, training=False) * weights).sum().backward()
    assert images.grad is not None
    change = torch.zeros_like(images)
    change[0, 10:14, 10:14] = 1e-2
    with torch.no_grad():
        moved = [(module(images + sign * change, training=False) * weights).sum() for sign in (1, -1)]
    torch.testing.assert_close((images.grad * change).sum(), (moved[0] - moved[1]) / 2, rtol=0.05, atol=0)


def test_gradients_through_an_engine_are_refused() -> None:
    module, images = Module("pnasnet_tiny"), IMAGES.clone().requires_grad_()
    with pytest.raises(InputError, match="returns no gradients: open it with trainable=True"):
        module(images)
    with torch.no_grad():
        assert module(images).shape == (4, 960)


def test_closing_during_calls_lets_every_call_finish() -> None:
    module = Module("pnasnet_tiny", engine="fake")
    expected, failures, done = module(IMAGES.numpy()), [], threading.Event()

    def call() -> None:
        try:
            for _ in range(300):
                np.testing.assert_array_equal(module(IMAGES.numpy()), expected)
        except BaseException as error:
            failures.append(error)

    def close() -> None:
        while not done.is_set():
            module.close()

    callers = [threading.Thread(target=call) for _ in range(3)]
    closer = threading.Thread(target=close)
    for thread in (*callers, closer):
        thread.start()
    for thread in callers:
        thread.join()
    done.set()
    closer.join()
    assert not failures


def test_a_call_whose_engine_was_closed_creates_another(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module("pnasnet_tiny", engine="fake")
    original, engines = module._backend.engine_for, []

    def closed_once(endpoints: Any) -> Any:
        engines.append(original(endpoints))
        if len(engines) == 1:
            module.close()  # as another thread may
        return engines[-1]

    monkeypatch.setattr(module._backend, "engine_for", closed_once)
    assert module(IMAGES.numpy()).shape == (4, 960)
    assert [engine.closed for engine in engines] == [True, False]


def test_an_engine_that_its_user_closed_is_created_again() -> None:
    module = Module("pnasnet_tiny", engine="fake")
    with module.engine as engine:
        pass
    assert engine.closed
    assert module(IMAGES.numpy()).shape == (4, 960)


def test_labels_of_a_new_classifier_are_exported(tmp_path: Path) -> None:
    module = trainable(num_classes=2, labels=["cat", "dog"])
    assert module.labels == ("cat", "dog")
    module.export(tmp_path / "mine.safetensors")
    opened = Module(tmp_path / "mine.safetensors")
    assert [name for name, _ in opened.classify([PHOTO])[0]] in (["cat", "dog"], ["dog", "cat"])
    assert pickle.loads(pickle.dumps(module)).labels == ("cat", "dog")


def test_a_classifier_for_other_labels_starts_at_random() -> None:
    names = [f"class {index}" for index in range(10)]
    options: list[dict[str, Any]] = [{}, {"labels": names}, {"labels": names, "num_classes": 10}]
    own, kept, new = (trainable(**each).variables for each in options)
    weights = "final_layer/FC/weights"
    np.testing.assert_array_equal(own[weights], kept[weights])
    assert not np.allclose(own[weights], new[weights])
    assert trainable(labels=names).labels == tuple(names)


def test_labels_that_are_not_one_different_name_for_each_class() -> None:
    for labels in ("ab", ["a", "a"], ["a", 1]):
        with pytest.raises(InputError, match="labels must be different names, one for each class"):
            trainable(num_classes=2, labels=labels)
    with pytest.raises(InputError, match="3 labels do not match 10 classes: pass one for each, or num_classes"):
        Module("pnasnet_tiny", labels=["a", "b", "c"])
