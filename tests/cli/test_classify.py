"""`pnasnet classify`: output, exit codes and errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from pnasnet import Module

from tests.helpers.cli_runs import HERE, MODEL, PHOTOS, error_of, run
from tests.helpers.corpus import parquet, tar, zipped
from tests.helpers.evaluation_data import small_network
from tests.helpers.http_answers import body, http_server


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


def test_names_are_printed_on_one_line(classifier: tuple[str, ...], tmp_path: Path) -> None:
    photo = (PHOTOS / "coffee.jpg").read_bytes()
    (tmp_path / "a.tar").write_bytes(tar({"new\nline\x1b]0;title.jpg": photo, "bad\n.jpg": b"no picture"}))
    result = run("classify", tmp_path / "a.tar", *classifier, "--top", "1", "-q")
    assert result.stdout.splitlines()[0] == rf"{tmp_path}/a.tar/new\nline\x1b]0;title.jpg"
    assert result.stderr.splitlines()[0].startswith(rf"failed: {tmp_path}/a.tar/bad\n.jpg: ")


def test_names_of_classes_are_cleaned(tmp_path: Path) -> None:
    module = small_network(2, engine="fake")
    module.model.labels = ("good\x1b[2J\nerror: forged", "right\u202eleft")
    module.export(tmp_path / "m.safetensors")
    result = run("classify", PHOTOS / "coffee.jpg", "--model", tmp_path / "m.safetensors", "--engine", "fake", "-q")
    assert result.exit_code == 0, result.output
    assert not {"\x1b", "\u202e"} & set(result.output)
    assert sorted(line[11:] for line in result.stdout.splitlines()[1:]) == [
        r"good\x1b[2J\nerror: forged", r"right\u202eleft"
    ]  # fmt: skip


def test_a_network_for_small_images_says_so_once(classifier: tuple[str, ...], tmp_path: Path) -> None:
    photos = (PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg")
    told = [line for line in run("classify", *photos, "-m", "pnasnet_tiny").stderr.splitlines() if "larger" in line]
    assert told == [
        "pnasnet_tiny sees images of 32x32 pixels and knows 10 classes ('airplane', 'automobile', 'bird', ...): "
        "use pnasnet_small or a larger network for photos"
    ]
    assert "larger" not in run("classify", *photos, "-m", "pnasnet_tiny", "-q").stderr
    assert "larger" not in run("classify", *photos, *classifier).stderr
    small_network(5, engine="openvino").export(tmp_path / "m.safetensors")
    assert "and knows 5 classes: use" in run("classify", *photos, "-m", tmp_path / "m.safetensors").stderr


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
    assert "not an image of a known format" in bad["error"]
    assert result.stderr.splitlines()[-1] == "1 of 2 images failed"


def test_every_kind_of_source(classifier: tuple[str, ...], tmp_path: Path) -> None:
    photos = {path.name: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))}
    (tmp_path / "a.tar").write_bytes(tar(photos))
    (tmp_path / "b.zip").write_bytes(zipped(photos))
    parquet(tmp_path / "c.parquet", list(photos.values()))
    (tmp_path / "d.tar").write_bytes(b"no tar")
    with http_server({"/a.jpg": body(photos["chelsea.jpg"])}) as url:
        sources: list[str | Path] = [PHOTOS, tmp_path / "*.[tzp]*", f"{url}/a.jpg", f"{url}/none.jpg"]
        result = run("classify", *sources, *classifier, "--json", "-q")
    assert result.exit_code == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    names = [*(f"{where}/{name}" for where in (PHOTOS, tmp_path / "a.tar", tmp_path / "b.zip") for name in photos)]
    names += [
        *(f"{tmp_path}/c.parquet#{row}" for row in range(4)),
        f"{tmp_path}/d.tar",
        f"{url}/a.jpg",
        f"{url}/none.jpg",
    ]
    assert [row["path"] for row in rows] == names
    classes = [row["classes"] for row in rows]
    assert classes[:4] == classes[4:8] == classes[8:12] == classes[12:16]
    assert [row["error"] for row in rows[:16]] == [None] * 16
    assert "d.tar: not a tar, or damaged" in rows[16]["error"]
    assert classes[17] == classes[list(photos).index("chelsea.jpg")]
    assert "not found: check the address" in rows[18]["error"]
    assert result.stderr.splitlines()[-1] == "2 of 19 images failed"


def test_a_missing_source(classifier: tuple[str, ...], tmp_path: Path) -> None:
    assert "none.tar' does not exist: check the path" in error_of(run("classify", tmp_path / "none.tar", *classifier))


def test_failure_in_the_table_goes_to_standard_error(classifier: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").touch()
    result = run("classify", tmp_path / "bad.jpg", *classifier)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "failed: " in result.stderr


def test_network_without_classifier() -> None:
    assert "tiny_hub_tf1 has no classifier" in error_of(run("classify", PHOTOS, *MODEL))


def test_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path))
    assert "pnasnet-5_large_2017_12_13" in error_of(run("classify", "-m", "pnasnet_large", PHOTOS / "coffee.jpg"))
