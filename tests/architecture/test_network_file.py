"""Network files: accepted by path wherever a name is, and checked before anything is built."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pnasnet import Module
from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.network_file import read_network, write_network
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.architecture.zoo import NamedNetwork
from pnasnet.errors import InputError, PnasnetError, SpecError, WeightsNotFoundError
from pnasnet.train.recipes import find_recipe

from tests.helpers.cli_runs import error_of, run

CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 2, "avg3", 1)])
NETWORK = NamedNetwork("found", NetworkSpec(CELL, 3, 8, (16, 16), 5, stem="cifar", aux_head=False))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_network(tmp_path / "best.json", NETWORK, {"accuracy": 0.5})
    return tmp_path / "best.json"


def change(file: Path, **changes: Any) -> None:
    value = json.loads(file.read_text())
    value["spec"] |= changes
    file.write_text(json.dumps(value))


def test_a_network_survives_its_file(file: Path) -> None:
    assert read_network(file) == NETWORK
    assert json.loads(file.read_text())["about"] == {"accuracy": 0.5}


def test_a_module_takes_it_like_a_name(file: Path, tmp_path: Path) -> None:
    module = Module(file, trainable=True, tags={"train"})
    assert module.model.name == "found"
    assert module.network(torch.rand(2, 16, 16, 3))["global_pool"].shape == (2, resolve(NETWORK.spec).num_features)
    with pytest.raises(WeightsNotFoundError, match="found has no weights: pass weights=FILE, or train it"):
        Module(file)
    with pytest.raises(WeightsNotFoundError, match="neither a file nor a published set of weights for found"):
        Module(str(file), "other")


def test_models_lists_it(file: Path) -> None:
    result = run("models", file)
    assert result.exit_code == 0, result.output
    title, row = result.stdout.splitlines()
    assert title.split() == ["given", "model", "cells", "filters", "input", "features", "parameters", "mult-adds"]
    assert row.split()[:5] == [str(file), "found", "3", "8", "16x16"]
    (described,) = json.loads(run("models", file, "--json").stdout)
    assert described["parameters"] == resolve(NETWORK.spec).parameters


def test_a_cell_of_a_file_may_become_deeper_and_wider() -> None:
    recipe = find_recipe("cifar10")
    scaled = recipe.with_cell(CELL, 12, 36)
    assert (scaled.spec.cell, scaled.spec.num_cells, scaled.spec.filters) == (CELL, 12, 36)
    assert scaled.spec.weight_decay == recipe.spec.weight_decay
    assert scaled.schedule == recipe.schedule
    assert recipe.with_cell(CELL).spec.num_cells == recipe.spec.num_cells


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": {"blocks": [["sep3", 3, "max3", 0], ["sep3", 2, "max3", 0]], "concat": [3]}}, "reads state 3"),
        ({"cell": {"blocks": [["sep9", 0, "max3", 0]], "concat": [2]}}, "unknown operation 'sep9'"),
        ({"cell": None}, "not a cell"),
        ({"cell": {"blocks": 7}}, "not a cell: {'blocks': 7} needs"),
        ({"depth": 3}, "a network has no field depth"),
        ({"num_cells": 10**9}, "num_cells must be from 1 to 1,000, not 1,000,000,000"),
        ({"filters": 1e9}, "filters must be a whole number, not 1000000000.0"),
        ({"stem_multiplier": 1e999}, "stem_multiplier must be from 0.001 to 1000, not inf"),
        ({"filter_scaling": 0}, "filter_scaling must be from 0.001 to 1000, not 0"),
        ({"filter_scaling": 999.0, "reductions": 2, "num_cells": 9}, "filters are too wide: the most is 100,000"),
        ({"image_size": [1e999, 1]}, "image_size must be a whole number, not inf"),
        ({"epsilon": "x"}, "epsilon must be a number, not 'x'"),
        ({"weight_decay": None}, "weight_decay must be a number, not None"),
        ({"num_classes": 2.5}, "num_classes must be a whole number, not 2.5"),
        ({"num_cells": "many"}, "num_cells must be a whole number, not 'many'"),
        (
            {"cell": {"blocks": [["sep3", 0, "max3", 0]] * 200, "concat": list(range(2, 202))}},
            "a cell has at most 100 blocks, not 200",
        ),
    ],
)
def test_an_impossible_network(file: Path, changes: dict[str, Any], message: str) -> None:
    change(file, **changes)
    with pytest.raises(SpecError) as caught:
        read_network(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert message in error_of(run("models", file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a network file"),
        (b'{"format": "pnasnet network"}', "is not a network file"),
        (b" " * (1 << 20) + b"{}", "has more than 1,048,576 bytes"),
    ],
)
def test_files_that_hold_no_network(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_network(tmp_path / "a.json")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        PnasnetError, match=r"cannot read .*missing\.json: No such file or directory; pass a network file"
    ):
        Module(tmp_path / "missing.json")
