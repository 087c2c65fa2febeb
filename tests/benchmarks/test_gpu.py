"""The GPU benchmark on the CPU: its dry run, fidelity and limits; CUDA graphs on a stand-in."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec

from tests.helpers.host_card import HostCard

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import gpu
import gpu_ways

DRY = ["--device", "cpu", "--dry-run"]


class SmallTimm(nn.Module):
    """A stand-in for timm's network: timm is not installed with the tests' tools."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().mean((2, 3))  # type: ignore[no-any-return]


def rows(output: str, way: str) -> list[list[str]]:
    """Return the columns after a way's name, for each batch."""
    return [line.removeprefix(way).split() for line in output.splitlines() if line.startswith(f"{way} ")]


@pytest.fixture
def small_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    timm: Any = ModuleType("timm")
    timm.create_model = lambda name, num_classes: SmallTimm()
    monkeypatch.setitem(sys.modules, "timm", timm)


@pytest.mark.usefixtures("small_timm")
@pytest.mark.parametrize(
    ("options", "ways"),
    [
        (["--ways", "engine", "eager", "graph"], ["engine, float32", "engine, bfloat16", "ours eager, bfloat16",
                                                  "engine, float16", "engine ahead, bfloat16",
                                                  "ours eager, float16", "timm eager, bfloat16"]),
        (["--ways", "compiled", "--batch", "2"], ["ours compiled, bfloat16", "ours compiled, float16",
                                                  "timm compiled, bfloat16"]),
    ],
    ids=["eager", "compiled"],
)  # fmt: skip
def test_a_dry_run_measures_each_way_on_the_cpu(
    options: list[str], ways: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    batches = 1 if "--batch" in options else 2
    assert gpu.main([*DRY, *options]) == 0
    output = capsys.readouterr().out
    for way in ways:
        found = rows(output, way)
        assert len(found) == batches, way
        for columns in found:
            assert float(columns[0]) > 0
            assert float(columns[-2]) > 0.999, way
            assert float(columns[-1]) < (1e-5 if "float32" in way else 0.05), way
    if "graph" in options:
        assert rows(output, "ours CUDA graph, bfloat16") == [["CUDA", "graphs", "require", "a", "GPU"]] * batches


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_a_missing_timm_is_a_row_and_no_failure(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Absent:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "timm":
                raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    assert gpu.main([*DRY, "--batch", "1", "--ways", "timm"]) == 0
    output = capsys.readouterr().out
    assert rows(output, "timm compiled, bfloat16") == [f"{missing} is not installed".split()]


def test_a_way_that_fails_is_named_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no compiler\nand a long trace")

    monkeypatch.setattr(gpu_ways.Settings, "compiled", fail)
    assert gpu.main([*DRY, "--batch", "1", "--ways", "ours compiled, bfloat16", "ours eager, bfloat16"]) == 1
    output = capsys.readouterr().out
    assert rows(output, "ours compiled, bfloat16") == [["failed:", "RuntimeError:", "no", "compiler"]]
    assert len(rows(output, "ours eager, bfloat16")[0]) == 8
    assert "1 measurement failed" in output


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_the_error_names_the_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--device cpu --dry-run" in capsys.readouterr().err


@pytest.mark.usefixtures("small_timm")
def test_the_row_of_graphs_replays_what_the_engine_records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cards: list[HostCard] = []

    def card(self: gpu_ways.Settings) -> HostCard:
        cards.append(HostCard())
        return cards[-1]

    monkeypatch.setattr(gpu_ways.Settings, "card", card)
    assert gpu.main([*DRY, "--batch", "2", "--ways", "CUDA graph, bfloat16", "unmerged, float16"]) == 0
    output = capsys.readouterr().out
    for way in ("ours CUDA graph, bfloat16", "ours CUDA graph, unmerged, float16"):
        assert float(rows(output, way)[0][-2]) > 0.999
    assert [card.recorded for card in cards] == [1, 1]
    assert all(card.launched >= 2 for card in cards)


def test_decoding_keeps_up_with_so_many_cores(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([*DRY, "--batch", "2", "--ways", "engine ahead, float32"]) == 0
    output = capsys.readouterr().out
    rate = float(rows(output, "engine ahead, float32")[0][0])
    found = re.search(r"decoding to 32x32: (\d+) images/s a core; (.*) cores keep up with (.*) images/s", output)
    assert found
    assert float(found[3]) == rate
    assert float(found[2]) == pytest.approx(rate / float(found[1]), rel=0.1, abs=0.06)


def test_fidelity_is_of_the_worst_image() -> None:
    reference = np.array([[1, 0], [3, 4]], np.float32)
    cosine, difference = gpu.fidelity(reference, reference)
    assert [cosine, difference] == pytest.approx([1, 0])
    cosine, difference = gpu.fidelity(np.array([[1, 0], [4, 3]], np.float32), reference)
    assert [cosine, difference] == pytest.approx([24 / 25, 1 / 4])


def test_the_floor_counts_the_arithmetic_of_the_network_without_its_classifier() -> None:
    plan = resolve(NetworkSpec(PNASNET5, 3, 8, (40, 40), 10))
    features = resolve(replace(plan.spec, num_classes=None))
    arithmetic, bandwidth, floor = gpu.CardLimits(flops=1e9, bandwidth=1e9).floor(plan, 4, 2)
    assert arithmetic == pytest.approx(2 * 4 * features.mult_adds / 1e9)
    assert max(arithmetic, bandwidth) <= floor <= arithmetic + bandwidth
    kernels = sum(np.prod(shape) for name, shape in features.variables().items() if name.endswith("weights"))
    one, two = (gpu.CardLimits(1e9, 1e9).floor(plan, batch, 2)[1] for batch in (1, 2))
    assert 2 * one - two == pytest.approx(2 * kernels / 1e9)  # kernels are read once for a batch
