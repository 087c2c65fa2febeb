"""The names that models are served under."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError
from pnasnet.serve import Service, open_models
from pnasnet.serve.models import default_batch_size
from pnasnet.serve.on_ray import ReplicaOptions

from tests.helpers.serving import CHECKPOINT, fake_models

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


def test_batches_of_a_small_network_are_larger() -> None:
    small = resolve(find("pnasnet_small").spec)
    mobile = resolve(find("pnasnet_mobile").spec)
    assert [default_batch_size(plan.mult_adds) for plan in (small, mobile)] == [32, 8]


@pytest.mark.parametrize(("given", "largest"), [(None, 32), (3, 3)])
def test_a_batch_is_not_larger(given: int | None, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()

    async def go() -> None:
        service = Service(fake_models(), batch_size=given)
        served = next(iter(service.models.values()))
        monkeypatch.setattr(served.batcher, "_observe", seen.append)
        working = asyncio.create_task(served.batcher.work())
        image = np.zeros((*served.module.image_size, 3), np.float32)
        await served.compute([image] * 40, "global_pool", "one client")
        working.cancel()

    asyncio.run(go())
    assert max(seen) == largest


@pytest.mark.parametrize("replicas", [0, 1.5, "2"])
def test_replicas_are_whole_numbers(replicas: Any) -> None:
    with pytest.raises(InputError, match=r"^replicas must be "):
        ReplicaOptions(replicas=replicas)
