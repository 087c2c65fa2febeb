"""`pnasnet evaluate`: output, files, exit codes and errors."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet import Module
from pnasnet.architecture.labels import labels, wordnet_ids
from pnasnet.architecture.zoo import find
from pnasnet.datasets import open_dataset
from pnasnet.evaluation import Evaluation, evaluate
from pnasnet.extract import ExtractOptions

from tests.helpers.cli_runs import HERE, error_of, run
from tests.helpers.disks import small_disk_at
from tests.helpers.evaluation_data import BLUE, GREEN, RED, png, small_network, write_folder

FAKE = ("--engine", "fake", "-q")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """To the fake engine pnasnet_tiny's first three classes: an airplane is red, an automobile green, a bird blue."""
    return write_folder(
        tmp_path / "data",
        {"airplane": [png(RED), png(RED), png(GREEN)], "automobile": [png(GREEN)], "bird": [png(BLUE), png(RED)]},
    )


def test_table(data: Path) -> None:
    result = run("evaluate", "pnasnet_tiny", data, *FAKE)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:6] == [
        "top-1            66.67%  95 % interval 30.00% to 90.32%",
        "top-5            83.33%  95 % interval 43.65% to 96.99%",
        "per class        72.22%  mean recall of the classes that have images",
        "images         6",
        "classes        3 matched by name; the model's other 7 compete",
        "preprocessing  hub, 32x32",
    ]
    checksum = Module("pnasnet_tiny").model.checksum
    assert lines[6] == f"weights        pnasnet_tiny: pnasnet_tiny, SHA-256 {checksum[:12]}"
    assert lines[7] == "engine         fake engine: mean colours instead of features"
    assert lines[8].startswith("time           ")
    assert len(lines) == 9
    assert "published" not in result.stdout
    assert result.stderr == ""


def test_a_column_of_another_name(tmp_path: Path) -> None:
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"photo": [png(GREEN), png(RED)], "label": ["automobile", "airplane"]}), table)
    assert "no column 'image' (nor img), only 'photo', 'label': name one with --image-column" in error_of(
        run("evaluate", "pnasnet_tiny", table, *FAKE)
    )
    result = run("evaluate", "pnasnet_tiny", table, *FAKE, "--image-column", "photo", "--json", "-q")
    assert json.loads(result.stdout)["images"] == 2


def test_per_class(data: Path) -> None:
    result = run("evaluate", "pnasnet_tiny", data, *FAKE, "--per-class")
    assert result.stdout.splitlines()[10:] == [
        "class       images   recall  95 % interval      predicted  precision  95 % interval",
        "airplane         3   66.67%  20.77% to 93.85%           3     66.67%  20.77% to 93.85%",
        "automobile       1  100.00%  20.65% to 100.00%          2     50.00%  9.45% to 90.55%",
        "bird             2   50.00%  9.45% to 90.55%            1    100.00%  20.65% to 100.00%",
    ]


def test_class_without_predictions_has_no_precision(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {"airplane": [png(GREEN)], "bird": [png(GREEN)]})
    lines = run("evaluate", "pnasnet_tiny", data, *FAKE, "--per-class").stdout.splitlines()
    assert lines[-1].split() == ["bird", "1", "0.00%", "0.00%", "to", "79.35%", "0"]


def test_json_and_file_say_the_same(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    output.write_text("old")
    result = run("evaluate", "pnasnet_tiny", data, *FAKE, "--json", "-o", output, "--preset", "timm", "--exif")
    assert result.exit_code == 0, result.output
    stated = json.loads(result.stdout)
    assert stated == json.loads(output.read_text())
    assert (stated["top1"]["hits"], stated["top1"]["count"]) == (4, 6)
    assert (stated["preset"], stated["exif"], stated["model"]) == ("timm", True, "pnasnet_tiny")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "figures.json"]


def test_failed_images_leave_the_figures_to_the_rest(data: Path) -> None:
    (data / "bird/bad.png").write_text("no")
    result = run("evaluate", "pnasnet_tiny", data, *FAKE)
    assert result.exit_code == 3
    assert "images         6, without 1 that failed" in result.stdout
    assert "66.67%" in result.stdout
    first, last = result.stderr.splitlines()
    assert first.startswith(f"failed: {data}/bird/bad.png: ")
    assert last == "1 of 7 images failed; the figures cover the other 6"


def test_limit_takes_images_from_all_over(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "d", {name: [png(RED)] * 4 for name in ("airplane", "automobile", "bird")})
    result = run("evaluate", "pnasnet_tiny", data, *FAKE, "--limit", "3", "--json")
    stated = json.loads(result.stdout)
    assert [each["recall"]["count"] for each in stated["per_class"]] == [1, 1, 1]
    assert json.loads(run("evaluate", "pnasnet_tiny", data, *FAKE, "--limit", "99", "--json").stdout)["images"] == 12


def test_split(data: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    for name, folder in (("train", "airplane"), ("test", "bird")):
        write_folder(both / name, {folder: [png(RED)]})
    result = run("evaluate", "pnasnet_tiny", both, *FAKE, "--split", "test", "--json")
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(result.stdout)["per_class"]] == ["bird"]


def test_real_network_without_fakes(data: Path) -> None:
    """The same through Python; what the network takes plain colours for does not matter."""
    result = run("evaluate", "pnasnet_tiny", data, "--preset", "slim", "--batch-size", "4", "--json")
    assert result.exit_code == 0, result.output
    stated = json.loads(result.stdout)
    expected = evaluate(Module("pnasnet_tiny"), open_dataset(data), ExtractOptions(preset="slim", batch_size=4))
    for key, value in expected.to_dict().items():
        assert key == "seconds" or stated[key] == value
    assert "OpenVINO" in result.stderr


def test_imagenet_by_wordnet_id_and_published_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 1001 classes: green is logit 1, and so ImageNet's first class."""
    weights = tmp_path / "small.safetensors"
    small_network(1001).export(weights)
    ids = wordnet_ids()
    data = write_folder(tmp_path / "val", {ids[0]: [png(GREEN)], ids[1]: [png(GREEN)]})
    result = run("evaluate", weights, data, *FAKE, "--per-class")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("top-1            50.00%  ")
    assert "2 matched by WordNet id; the background logit before them competes" in result.stdout
    assert f"{ids[0]} tench     " in result.stdout
    assert "published" not in result.stdout

    def published(*arguments: object, **options: object) -> Evaluation:
        return replace(evaluate(*arguments, **options), published=find("pnasnet_large").weights[0])  # type: ignore[arg-type]

    monkeypatch.setattr("pnasnet.evaluation.evaluate", published)
    lines = run("evaluate", weights, data, *FAKE).stdout.splitlines()
    assert lines[0].endswith("%  published 82.9 %")
    assert lines[1].endswith("%  published 96.2 %")


def test_few_classes_have_no_top_5(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {str(index): [png(RED)] for index in range(5)})
    result = run("evaluate", HERE / "checkpoints/tiny_slim", data, *FAKE)
    assert result.exit_code == 0, result.output
    assert "top-5" not in result.stdout
    assert "5 matched by number\n" in result.stdout


def test_other_classes(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {"ant": [png(RED)]})
    message = error_of(run("evaluate", "pnasnet_tiny", data, *FAKE))
    assert "the data has 'ant'; the model has 'airplane'" in message
    assert labels("cifar10")[0] == "airplane"


def test_output_that_cannot_be_written_is_refused_before_the_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pnasnet.evaluation.evaluate", lambda *_, **__: pytest.fail("was evaluated"))
    nowhere = tmp_path / "nowhere"
    (tmp_path / "d.json").mkdir()
    for output, reason in (
        (nowhere / "f.json", f"there is no folder {nowhere}; create it first"),
        (tmp_path / "d.json", "it is a folder; name a file"),
    ):
        message = error_of(run("evaluate", "pnasnet_tiny", data, *FAKE, "-o", output))
        assert message == f"cannot write {output}: {reason}"


def test_a_full_disk_does_not_lose_the_result(data: Path, tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "disk", "8k") as disk:
        (disk / "filler").write_bytes(bytes(8192))
        result = run("evaluate", "pnasnet_tiny", data, *FAKE, "-o", disk / "f.json")
        assert error_of(result).startswith(f"cannot write {disk}/f.json: No space left on device")
        assert [path.name for path in disk.iterdir()] == ["filler"]
    assert "66.67%" in result.stdout


def test_data_is_opened_before_weights(tmp_path: Path) -> None:
    """A wrong path is reported at once, not after a download."""
    assert "nowhere" in error_of(run("evaluate", "pnasnet_large", tmp_path / "nowhere"))


def test_missing_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path))
    assert "pnasnet-5_large_2017_12_13" in error_of(run("evaluate", "pnasnet_large", data))


@pytest.mark.parametrize("model", ["pnasnet_tiny", "model"])
def test_swapped_arguments_are_recognised(data: Path, tmp_path: Path, model: str) -> None:
    if model == "model":
        model = str(tmp_path / "model.safetensors")
        small_network(3).export(Path(model))
    result = run("evaluate", data, model)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: the model comes before the data: pnasnet evaluate {model} {data}"


def test_two_datasets_or_none_are_not_called_swapped(data: Path, tmp_path: Path) -> None:
    assert "comes before" not in error_of(run("evaluate", "pnasnet_tiny", tmp_path / "nowhere"))
    assert "comes before" not in error_of(run("evaluate", tmp_path, tmp_path / "nowhere"))


def test_names_of_classes_cannot_forge_lines_or_move_the_cursor(tmp_path: Path) -> None:
    hostile = "a\x1b[2J\nerror: forged\u202e"
    module = small_network(3)
    module.model.labels = (hostile, "b", "c")
    module.export(tmp_path / "m.safetensors")
    data = write_folder(tmp_path / "data", {"b": [png(GREEN)], "c": [png(BLUE)]})
    (data / "c" / "x\x1b]0;t\n.png").write_bytes(b"no")
    (data / hostile).mkdir()
    (data / hostile / "0.png").write_bytes(png(RED))
    result = run("evaluate", tmp_path / "m.safetensors", data, *FAKE, "--per-class")
    assert result.exit_code == 3, result.output
    assert not {"\x1b", "\u202e"} & set(result.output)
    assert r"a\x1b[2J\nerror: forged\u202e  " in result.stdout
    assert result.stderr.count("\n") == 2


def test_help_fits_the_line_and_has_an_example() -> None:
    output = run("evaluate", "--help").output
    assert "  pnasnet evaluate pnasnet_large ILSVRC2012_val/ --preset slim" in output
    assert output.startswith("Usage: pnasnet evaluate [OPTIONS] MODEL DATA\n")
    assert max(map(len, output.splitlines())) <= 100


def test_a_model_in_place_of_data_is_reported_with_the_right_order() -> None:
    result = run("evaluate", "photos/", "pnasnet_tiny")
    assert result.exit_code == 2
    assert "the model comes before the data: pnasnet evaluate pnasnet_tiny photos/" in result.stderr
