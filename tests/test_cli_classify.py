"""`pnasnet classify`: what is printed."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli_runs import HERE, MODEL, PHOTOS, error_of, run
from pnasnet import Module


@pytest.fixture(scope="module")
def classifier() -> tuple[str, ...]:
    """A real network with a classifier of five classes without names, on a real engine."""
    return "--model", str(HERE / "checkpoints/tiny_slim")


def test_table(classifier: tuple[str, ...]) -> None:
    result = run("classify", PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg", *classifier, "--top", "2")
    assert result.exit_code == 0, result.output
    expected = Module(classifier[1]).classify([PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg"], top=2)
    lines = result.stdout.splitlines()
    for path, best, start in ((PHOTOS / "coffee.jpg", expected[0], 0), (PHOTOS / "rocket.jpg", expected[1], 3)):
        assert lines[start] == str(path)
        assert lines[start + 1 : start + 3] == [f"  {probability:7.2%}  {name}" for name, probability in best]


def test_json_and_failures(classifier: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no")
    result = run("classify", PHOTOS / "chelsea.jpg", tmp_path / "bad.jpg", *classifier, "--json")
    assert result.exit_code == 3
    good, bad = map(json.loads, result.stdout.splitlines())
    assert sorted(each["name"] for each in good["classes"]) == [f"class {i}" for i in range(5)]
    probabilities = [each["probability"] for each in good["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert np.isclose(sum(probabilities), 1)
    assert bad["classes"] == []
    assert "not a JPEG" in bad["error"]
    assert result.stderr.splitlines()[-1] == "1 of 2 photos failed"


def test_failure_in_the_table_goes_to_standard_error(classifier: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").touch()
    result = run("classify", tmp_path / "bad.jpg", *classifier)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "failed: " in result.stderr


def test_network_without_classifier() -> None:
    assert "tiny_hub_tf1 has no classifier" in error_of(run("classify", PHOTOS, *MODEL))


def test_weights_that_are_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path))
    assert "pnasnet-5_large_2017_12_13" in error_of(run("classify", PHOTOS / "coffee.jpg"))
