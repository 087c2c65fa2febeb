"""The names that models are served under."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError
from pnasnet.serve import Service, open_models
from pnasnet.serve.on_ray import ReplicaOptions

from tests.helpers.serving import CHECKPOINT

FAKE = EngineOptions("fake")


def test_names(tmp_path: Path) -> None:
    folder = tmp_path / "my model.v2"
    shutil.copytree(CHECKPOINT, folder)
    assert list(open_models(["pnasnet_tiny", str(folder)], FAKE)) == ["pnasnet_tiny", "my_model.v2"]


def test_two_models_of_one_name(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a b", "a_b")]
    for folder in folders:
        shutil.copytree(CHECKPOINT, folder)
    with pytest.raises(InputError, match=r"a b and .*a_b would both be served as a_b: rename one"):
        open_models([str(folder) for folder in folders], FAKE)


def test_one_model_twice() -> None:
    with pytest.raises(InputError, match=r"^the model pnasnet_tiny is named twice: name it once$"):
        open_models(["pnasnet_tiny", "pnasnet_tiny"], FAKE)


def test_a_service_needs_a_model() -> None:
    with pytest.raises(InputError, match=r"^there is no model to serve: name at least one$"):
        Service({})


@pytest.mark.parametrize("replicas", [0, 1.5, "2"])
def test_replicas_are_whole_numbers(replicas: Any) -> None:
    with pytest.raises(InputError, match=r"^replicas must be "):
        ReplicaOptions(replicas=replicas)
