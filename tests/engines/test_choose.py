"""Which engine is made for a name."""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.engines import Engine, EngineOptions, Job, choose, create
from pnasnet.errors import InputError, MissingExtraError, UnknownNameError

from tests.helpers.golden_weights import draw

PLAN = resolve(NetworkSpec(PNASNET5, 3, 8, (16, 16), 5, stem="cifar"))


def build(name: str, **options: Any) -> Engine:
    drawn = {variable: np.abs(draw(variable, shape)) for variable, shape in PLAN.variables().items()}
    outputs = options.pop("outputs", ["global_pool"])
    return create(Job(PLAN, lambda: drawn, EngineOptions(name, **options), outputs=tuple(outputs)))


def make(name: str, **options: Any) -> str:
    with build(name, **options) as engine:
        return engine.name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("openvin", {}, "unknown engine 'openvin': did you mean openvino?"),
        ("tensorflow", {}, "unknown engine 'tensorflow': choose one of: auto, openvino, torch"),
        ("fake", {"precision": "float8"}, "unknown precision 'float8': did you mean float32 or float16 or bfloat16?"),
        ("fake", {"outputs": ["logits"]}, "unknown endpoint 'logits': did you mean Logits?"),
    ],
)
def test_errors_for_unknown_names_list_known_ones(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make(name, **options)
    assert str(caught.value) == message


def test_there_is_at_least_one_thread() -> None:
    with pytest.raises(InputError, match="threads must be at least 1, not 0"):
        make("fake", threads=0)


def test_there_is_at_least_one_output() -> None:
    with pytest.raises(InputError, match="at least one endpoint: choose one of: Stem, Cell_0"):
        make("fake", outputs=[])


@pytest.mark.parametrize(
    ("cuda", "installed", "expected", "reason"),
    [
        (False, {"openvino", "torch"}, "openvino", "it is the fastest on CPUs"),
        (True, {"openvino", "torch"}, "torch", "there is a CUDA device"),
        (False, {"torch"}, "torch", "openvino is not installed"),
    ],
)
def test_auto_chooses_the_fastest_and_logs_why(
    cuda: bool, installed: set[str], expected: str, reason: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(choose, "_has_cuda", lambda: cuda)
    monkeypatch.setattr(choose, "find_spec", lambda name: name in installed or None)
    with caplog.at_level(logging.INFO, "pnasnet"):
        assert make("auto") == expected
    assert f"engine {expected}: {reason}" in caplog.messages


def test_auto_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_has_cuda", lambda: pytest.fail("asked for CUDA although a device was given"))
    assert make("auto", device="CPU") == "openvino"
    with pytest.raises(UnknownNameError, match="torch device"):
        make("auto", device="cuda:9")


def test_torch_is_not_imported_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not choose._has_cuda()


@pytest.mark.parametrize(
    ("name", "remedy"), [("torch", r"pip install 'pnasnet\[torch\]'"), ("openvino", "pip install openvino")]
)
def test_a_missing_library_is_named_with_its_extra(name: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=remedy):
        make(name)


def test_threads_stay_within_the_quota_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.engines.choose.processor_quota", lambda: 1)
    with build("openvino") as engine:
        assert ", 1 thread" in engine.description
        assert "1 threads" not in engine.description
    with build("openvino", threads=2) as engine:
        assert "2 threads" in engine.description
