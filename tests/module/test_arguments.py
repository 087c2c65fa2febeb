"""Arguments of other types: NumPy's numbers are numbers, and everything else is one line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions, classify
from pnasnet.finetune import FinetuneOptions
from pnasnet.quantize import QuantizeOptions
from pnasnet.serve import ServerLimits
from pnasnet.training.machine import Machine
from pnasnet.vectors import ExploreOptions
from pnasnet.vectors.duplicates import check_threshold

PIXELS = np.zeros((32, 32, 3), np.uint8)
WRONG: tuple[Any, ...] = (
    "a",
    1.5,
    float("nan"),
    True,
    -1,
    10**30,
    [],
    (1, 2),
    b"x",
    object(),
    np.float64(2),
    np.array([1, 2]),
)


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny", engine="fake")


def test_numbers_of_numpy_are_numbers(module: Module) -> None:
    found = module.classify(PIXELS, top=np.int64(2), batch_size=np.uint8(1))  # type: ignore[arg-type]
    assert len(found[0]) == 2
    options = ExtractOptions(batch_size=np.int32(4), normalize=np.bool_(True))  # type: ignore[arg-type]
    assert (type(options.batch_size), options.normalize) == (int, True)
    assert type(EngineOptions(threads=np.int64(3)).threads) is int  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda module, wrong: module.classify(PIXELS, top=wrong),
        lambda module, wrong: module.classify(PIXELS, batch_size=wrong),
        lambda module, wrong: module.embed(PIXELS, batch_size=wrong),
        lambda module, wrong: module.embed(PIXELS, preset=wrong),
        lambda module, wrong: module.embed(PIXELS, endpoint=str(wrong)),
        lambda module, wrong: module(np.zeros((1, 32, 32, 3), np.float32), str(wrong)),
        lambda module, wrong: Module("pnasnet_tiny", engine="fake", threads=wrong),
        lambda module, wrong: Module("pnasnet_tiny", engine="fake", precision=wrong),
        lambda module, wrong: Module("pnasnet_tiny", engine=wrong),
        lambda module, wrong: Module("pnasnet_tiny", engine="fake", labels=wrong),
        lambda module, wrong: list(classify(module, [], top=wrong)),
        lambda module, wrong: ExtractOptions(decoders=wrong),
        lambda module, wrong: ExtractOptions(give_up=wrong),
        lambda module, wrong: QuantizeOptions(images=wrong),
        lambda module, wrong: QuantizeOptions(threads=wrong),
        lambda module, wrong: ExploreOptions(thumbnail=wrong),
        lambda module, wrong: FinetuneOptions(epochs=wrong),
        lambda module, wrong: Machine(parts=wrong),
        lambda module, wrong: ServerLimits(images=wrong),
    ],
)
def test_other_arguments_are_one_line(module: Module, call: Callable[[Module, Any], Any]) -> None:
    for wrong in WRONG:
        with pytest.raises(InputError) as raised:
            call(module, wrong)
        assert len(str(raised.value).splitlines()) == 1, wrong
        assert len(str(raised.value)) < 200, wrong


@pytest.mark.parametrize("threshold", ["a", 0, -1, 1.1, float("nan"), None, [1], True])
def test_thresholds(threshold: Any) -> None:
    with pytest.raises(InputError, match=r"^threshold must be "):
        check_threshold(threshold)


@pytest.mark.parametrize("tags", ["train", "other", ["other"], 5, {"train", "other"}])
def test_tags(tags: Any) -> None:
    with pytest.raises(InputError, match="No such graph variant: tags="):
        Module("pnasnet_tiny", tags=tags)


@pytest.mark.parametrize("single", [{"precision": "float32"}, {"threads": 1}])
def test_options_of_the_engine_are_passed_once(single: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="pass precision and threads to EngineOptions"):
        Module("pnasnet_tiny", engine=EngineOptions("fake"), **single)
