"""Modules in other hands: pickled, copied, in other processes, printed."""

import copy
import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import sklearn
import torch

import pnasnet
from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.engines import EngineOptions
from pnasnet.errors import WeightsMismatchError

from tests.helpers.golden_weights import draw

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


def through_joblib(module: Module, folder: Path) -> Any:
    joblib.dump(module, folder / "module.joblib")
    return joblib.load(folder / "module.joblib")


COPIES = {
    "pickle": lambda module, folder: pickle.loads(pickle.dumps(module)),
    "first protocol": lambda module, folder: pickle.loads(pickle.dumps(module, 0)),
    "deepcopy": lambda module, folder: copy.deepcopy(module),
    "copy": lambda module, folder: copy.copy(module),
    "clone": lambda module, folder: sklearn.base.clone(module, safe=False),
    "cloudpickle": lambda module, folder: pickle.loads(cloudpickle.dumps(module)),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("trainable", [False, True])
def test_a_copy_computes_the_same(how: str, trainable: bool, tmp_path: Path) -> None:
    module = Module("pnasnet_tiny", trainable=trainable, image_size=(40, 40))
    images = np.random.default_rng(0).random((2, 40, 40, 3), np.float32)
    again = COPIES[how](module, tmp_path)
    assert again is not module
    np.testing.assert_array_equal(again(images), module(images))


def test_all_arguments_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(__file__).parents[1] / "checkpoints" / "tiny_slim", tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    options = EngineOptions(threads=1, precision="bfloat16")
    pickled = pickle.dumps(Module("tiny", image_size=(64, 64), engine=options))
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)
    assert (again.image_size, again._options) == ((64, 64), options)


def test_changed_variables_are_pickled() -> None:
    module = Module("pnasnet_tiny", trainable=True, tags={"train"}, num_classes=3)
    torch.manual_seed(0)
    module(torch.from_numpy(IMAGES))  # updates the moving averages
    module.network.get_submodule("final_layer").eval()
    module.network.drop_path_progress.fill_(0.25)
    next(module.network.parameters()).requires_grad_(False)
    with torch.no_grad():
        module.trainable_variables[-1].add_(1)
    again = pickle.loads(pickle.dumps(module))
    for name, value in module.variables.items():
        np.testing.assert_array_equal(again.variables[name], value, err_msg=name)
    assert [part.training for part in again.network.modules()] == [part.training for part in module.network.modules()]
    assert again.network.drop_path_progress == 0.25
    assert len(again.trainable_variables) == len(module.trainable_variables)


def test_weights_from_a_mapping_are_pickled() -> None:
    drawn = {n: np.abs(draw(n, s)) for n, s in resolve(find("pnasnet_tiny").spec).variables().items()}
    module = Module("pnasnet_tiny", drawn)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(module))(IMAGES), module(IMAGES))


def test_other_weights_in_the_same_place_are_refused(tmp_path: Path) -> None:
    module = Module("pnasnet_tiny", trainable=True)
    module.export(tmp_path / "m.safetensors")
    pickled = pickle.dumps(Module(tmp_path / "m.safetensors"))
    module.export(tmp_path / "m.safetensors")  # the same weights again
    pickle.loads(pickled)
    with torch.no_grad():
        module.trainable_variables[0].add_(1)
    module.export(tmp_path / "m.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"m\.safetensors\) have changed since the module was pickled"):
        pickle.loads(pickled)


@pytest.mark.slow
def test_other_processes_use_a_module() -> None:
    module, context = Module("pnasnet_tiny"), multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context)
    try:
        np.testing.assert_array_equal(pool.submit(module, IMAGES).result(timeout=300), module(IMAGES))
    finally:
        for process in list(pool._processes.values()):
            process.kill()
        pool.shutdown()
    with context.Pool(1) as processes:
        np.testing.assert_array_equal(processes.apply_async(module, (IMAGES,)).get(timeout=300), module(IMAGES))
    (parallel,) = joblib.Parallel(n_jobs=1)([joblib.delayed(module)(IMAGES)])
    np.testing.assert_array_equal(parallel, module(IMAGES))


def test_repr_describes_a_module() -> None:
    text = repr(Module("pnasnet_tiny", engine="openvino"))
    assert text == ("<Module pnasnet_tiny: weights pnasnet_tiny, images 32x32, 10 classes, engine openvino, float32>")
    assert "torch network, trainable, inference mode" in repr(Module("pnasnet_tiny", trainable=True))
    assert "torch network, training mode" in repr(Module("pnasnet_tiny", tags={"train"}))
    features = Path(__file__).parents[1] / "checkpoints" / "tiny_hub_tf1"
    assert "weights " + str(features) + ", images 64x64, no classifier" in repr(Module(features))


def test_the_package_lists_its_names_and_models() -> None:
    assert set(dir(pnasnet)) == set(pnasnet.__all__)
    assert "pnasnet_tiny" in pnasnet.list_models()
    assert set(pnasnet.list_models()) < set(pnasnet.architecture.zoo.NETWORKS)
