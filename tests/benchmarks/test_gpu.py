"""The GPU benchmark on the CPU: its dry run, folding, fidelity and limits. CUDA graphs alone cannot run here."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.lowering.torch_network import Network

from tests.helpers.golden_weights import EVERY_OPERATION, drawn

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


@pytest.mark.parametrize(
    ("cell", "reduction", "stem"),
    [(PNASNET5, None, "cifar"), (NASNET_A_NORMAL, NASNET_A_REDUCTION, "imagenet"), (EVERY_OPERATION, None, "imagenet")],
    ids=["pnasnet", "nasnet", "every operation"],
)
def test_folding_leaves_no_batch_norm_and_the_same_features(
    cell: CellSpec, reduction: CellSpec | None, stem: Any
) -> None:
    spec = NetworkSpec(cell, 3, 8, (40, 40), None, reduction, stem=stem)
    network = Network(resolve(spec)).eval()
    network.load_variables(drawn(spec))
    images = torch.rand(2, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images)["global_pool"]
        gpu_ways.fold_batch_norm(network)
        after = network(images)["global_pool"]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert (before - after).abs().max() < 1e-4 * before.abs().max()


def test_fidelity_is_of_the_worst_image() -> None:
    reference = np.array([[1, 0], [3, 4]], np.float32)
    cosine, difference = gpu.fidelity(reference, reference)
    assert [cosine, difference] == pytest.approx([1, 0])
    cosine, difference = gpu.fidelity(np.array([[1, 0], [4, 3]], np.float32), reference)
    assert [cosine, difference] == pytest.approx([24 / 25, 1 / 4])


def test_the_floor_counts_the_arithmetic_of_the_network_without_its_classifier() -> None:
    plan = resolve(NetworkSpec(PNASNET5, 3, 8, (40, 40), 10))
    features = resolve(replace(plan.spec, num_classes=None))
    arithmetic, bandwidth, floor = gpu.Limits(flops=1e9, bandwidth=1e9).floor(plan, 4, 2)
    assert arithmetic == pytest.approx(2 * 4 * features.mult_adds / 1e9)
    assert max(arithmetic, bandwidth) <= floor <= arithmetic + bandwidth
    kernels = sum(np.prod(shape) for name, shape in features.variables().items() if name.endswith("weights"))
    one, two = (gpu.Limits(1e9, 1e9).floor(plan, batch, 2)[1] for batch in (1, 2))
    assert 2 * one - two == pytest.approx(2 * kernels / 1e9)  # kernels are read once for a batch
