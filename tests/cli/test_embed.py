"""`pnasnet embed`: rows, failures, exit codes, and what interruptions leave."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from pnasnet import Module, images

from tests.helpers.cli_runs import MODEL, PHOTOS, error_of, run

ENVIRONMENT = {**os.environ, "PNASNET_OFFLINE": "1"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(PHOTOS, folder)
    return folder


def test_real_photos_with_a_real_engine(tmp_path: Path, photos: Path) -> None:
    """The main command, as a process of its own, against the same through Python."""
    (photos / "sub").mkdir()
    (photos / "sub/empty.jpg").touch()
    (photos / "sub/cut.jpg").write_bytes((PHOTOS / "coffee.jpg").read_bytes()[:20_000])
    (photos / "sub/text.png").write_text("not an image")
    output, model = tmp_path / "features.parquet", MODEL[1]
    command = [
        sys.executable,
        "-m",
        "pnasnet",
        "embed",
        str(photos),
        "-m",
        model,
        "-o",
        str(output),
        "--batch-size",
        "3",
    ]
    environment = {**ENVIRONMENT, "PNASNET_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 3, done.stderr
    assert "OpenVINO" in done.stderr
    assert [line.split(":")[1].split("/")[-1] for line in done.stderr.splitlines() if line.startswith("failed: ")] == [
        "cut.jpg",
        "empty.jpg",
        "text.png",
    ]
    assert done.stdout.startswith(f"{output}: 4 embedded, 3 failed, in ")
    rows = pq.read_table(output).to_pylist()
    names = ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"]
    assert [row["path"] for row in rows[:4]] == [f"{photos}/{name}" for name in names]
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["error"] * 3
    assert "empty (0 bytes)" in rows[5]["error"]
    vectors = np.array([row["embedding"] for row in rows[:4]], np.float32)
    module = Module(model)
    np.testing.assert_allclose(vectors, module.embed([PHOTOS / name for name in names]), rtol=1e-4, atol=1e-5)
    assert [(row["width"], row["height"]) for row in rows[2:4]] == [(600, 400), (640, 427)]


def test_metadata_say_what_the_vectors_are(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "f.parquet"
    result = run("embed", photos, *MODEL, "-o", output, "--preset", "slim", "--exif")
    assert result.exit_code == 0, result.output
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(output).metadata.items()}
    for name in ("version", "settings_sha256", "rows", "failed"):
        metadata.pop(f"pnasnet.{name}", None)
    assert metadata == {
        "pnasnet.model": "tiny_hub_tf1",
        "pnasnet.weights": MODEL[1],
        "pnasnet.weights_sha256": Module(MODEL[1], engine="fake").model.checksum,
        "pnasnet.endpoint": "global_pool",
        "pnasnet.shape": "160",
        "pnasnet.preset": "slim",
        "pnasnet.image_size": "64x64",
        "pnasnet.exif": "true",
        "pnasnet.precision": "float32",
        "pnasnet.vectors": "float32",
        "pnasnet.normalized": "false",
        "pnasnet.engine": "fake engine: mean colours instead of features",
    }


def test_preset_reaches_the_images(tmp_path: Path) -> None:
    output = tmp_path / "f.parquet"
    assert run("embed", PHOTOS / "coffee.jpg", *MODEL, "-o", output, "--preset", "timm").exit_code == 0
    expected = images.preprocess(PHOTOS / "coffee.jpg", (64, 64), "timm").mean((0, 1))
    np.testing.assert_allclose(pq.read_table(output)["embedding"][0].as_py()[:3], expected, rtol=1e-5)


def test_exif_is_applied_on_request(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    for option, size in (("--exif", (20, 30)), ("--no-exif", (30, 20))):
        output = tmp_path / f"{option}.parquet"
        assert run("embed", tmp_path / "turned.jpg", *MODEL, "-o", output, option).exit_code == 0
        row = pq.read_table(output).to_pylist()[0]
        assert (row["width"], row["height"]) == size


def test_orientations_that_were_not_applied_are_counted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (30, 20)).save(tmp_path / name, exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "c.jpg")
    result = run("embed", tmp_path, *MODEL, "-o", tmp_path / "out")
    assert "2 images with an EXIF orientation that was not applied; see --exif" in result.stderr.splitlines()
    assert "2 images of this run have an EXIF orientation" in (tmp_path / "out/_report.html").read_text()
    applied = run("embed", tmp_path, *MODEL, "-o", tmp_path / "f.parquet", "--exif")
    assert "orientation" not in applied.stderr


def test_files_that_were_passed_over_are_counted_and_named(tmp_path: Path, photos: Path) -> None:
    (photos / "a.psd").write_bytes(b"x")
    (photos / "notes.txt").write_text("x")
    (photos / "photo").write_bytes((PHOTOS / "coffee.jpg").read_bytes())
    result = run("embed", photos, *MODEL, "-o", tmp_path / "out")
    (line,) = [line for line in result.stderr.splitlines() if "skipped" in line]
    assert line.startswith("skipped 3 files without the suffix of an image format: ")
    assert all(word in line for word in ("1 without suffix (JPEG inside", "1 .psd", "1 .txt"))
    report = json.loads((tmp_path / "out/_report.json").read_text())
    assert report["this_run"]["passed_over"] == line
    assert "This run skipped 3 files" in (tmp_path / "out/_report.html").read_text()
    assert "skipped" not in run("embed", PHOTOS, *MODEL, "-o", tmp_path / "b").stderr


def test_tables_with_a_column_of_another_name_and_paths_elsewhere(tmp_path: Path, photos: Path) -> None:
    table = tmp_path / "tables/t.parquet"
    table.parent.mkdir()
    pq.write_table(pa.table({"photo": [f"{photos}/coffee.jpg", "rocket.jpg"]}), table)
    assert "--image-column" in error_of(run("embed", table, *MODEL, "-o", tmp_path / "out"))
    named = ("embed", table, *MODEL, "--image-column", "photo")
    outside = run(*named, "-o", tmp_path / "out")
    assert outside.exit_code == 3
    assert "--root" in outside.stderr
    assert run(*named, "--root", photos, "-o", tmp_path / "below").exit_code == 0
    assert "other settings (sources: " in error_of(run(*named, "--root", photos, "-o", tmp_path / "out"))


def test_quiet_and_last_line(tmp_path: Path, photos: Path) -> None:
    result = run("embed", photos, *MODEL, "-o", tmp_path / "f.parquet", "--quiet")
    assert result.stderr == ""
    assert result.stdout.startswith(f"{tmp_path}/f.parquet: 4 embedded, 0 failed, in ")
    assert "fake engine" in run("embed", photos, *MODEL, "-o", tmp_path / "g.parquet").stderr


def test_the_first_failures_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"{index}.jpg").touch()
    result = run("embed", tmp_path, *MODEL, "-o", tmp_path / "f.parquet")
    assert result.exit_code == 3
    assert result.stderr.count("failed: ") == 6
    assert "failed: 3 more" in result.stderr
    assert ": 0 embedded, 8 failed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg", *MODEL], "'nowhere.jpg' does not exist"),
        (["empty", *MODEL], "'empty' contains no images at any depth (.avif"),
        (["photos", *MODEL, "-o", "none/f.parquet"], "cannot write none/f.parquet: there is no folder none; create"),
        (["photos", *MODEL, "-o", "photos"], "photos holds other files (astronaut.jpg): name a new folder"),
        (["photos", *MODEL, "--files-from", "none.txt"], "cannot read 'none.txt'"),
        (["photos", *MODEL, "--vectors", "float8"], "unknown kind of vectors 'float8'"),
        (["photos", *MODEL, "--with", "pnasnet_larg"], "unknown model 'pnasnet_larg'"),
        (["photos", *MODEL, "--with", MODEL[1]], "two of the models or endpoints have the same name"),
        (["photos", "-m", "pnasnet_large", "-o", "out.csv"], "cannot write out.csv: name a folder, or a file whose"),
        (["photos.zip", *MODEL], "'photos.zip' does not exist"),
        (["photos", *MODEL, "-o", "there.parquet"], "there.parquet exists: "),
        (["photos", "-m", "pnasnet_larg"], "unknown model 'pnasnet_larg': did you mean pnasnet_large"),
        (["photos", "-m", "pnasnet_large"], "pnasnet-5_large_2017_12_13"),
        (["photos", *MODEL, "--preset", "slym"], "unknown preset 'slym': did you mean slim"),
        (["photos", *MODEL, "--endpoint", "Cell_99"], "unknown endpoint 'Cell_99'"),
        (["photos", *MODEL[:2], "--engine", "openwino"], "unknown engine 'openwino': did you mean openvino"),
        (["photos", *MODEL, "--precision", "float8"], "unknown precision 'float8'"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.parquet").write_text("precious")
    usage = message.startswith("unknown") or "name a folder, or" in message
    assert message in error_of(run("embed", "-o", "f.parquet", *arguments), 2 if usage else 1)
    assert not (tmp_path / "f.parquet").exists()
    assert not list(tmp_path.glob("*.partial*"))
    assert (tmp_path / "there.parquet").read_text() == "precious"


def test_damaged_checkpoint(tmp_path: Path, photos: Path) -> None:
    model = tmp_path / "tiny_hub_tf1"
    shutil.copytree(MODEL[1], model)
    shard = next(model.glob("variables/variables.data*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = run("embed", photos, "-m", model, "-o", tmp_path / "f.parquet")
    assert "checksum" in error_of(result)
    assert not (tmp_path / "f.parquet").exists()


def test_a_list_on_standard_input_and_a_folder(tmp_path: Path, photos: Path) -> None:
    odd = photos / "new\nline.jpg"
    (photos / "coffee.jpg").rename(odd)
    listed = b"\0".join(os.fsencode(path) for path in sorted(photos.iterdir()))
    command = [sys.executable, "-m", "pnasnet", "embed", "--files-from", "-", "-0", *MODEL, "-o", str(tmp_path / "out")]
    done = subprocess.run(command, input=listed, capture_output=True, env=ENVIRONMENT, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "out")["path"].to_pylist() == [str(path) for path in sorted(photos.iterdir())]
    again = subprocess.run(
        command, input=b"", capture_output=True, text=False, env=ENVIRONMENT, check=False, timeout=300
    )
    assert b"already complete, with 4 rows" in again.stdout


def test_no_source_at_all(tmp_path: Path) -> None:
    assert run("embed", *MODEL, "-o", tmp_path / "out").exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "1"], "--gpus can only be used on a cluster: add --ray or --address"),
        (["--workers", "2", "--cpus", "1"], "--workers and --cpus can only be used on a cluster: add --ray"),
        (["-0"], "--null needs a list: name one with --files-from"),
        (["--resume", "--overwrite"], "--resume and --overwrite cannot be combined"),
        (["--overwrite", "--add"], "--overwrite and --add cannot be combined"),
        (["--retry-errors", "--add"], "--add and --retry-errors cannot be combined"),
    ],
)
def test_options_that_would_have_no_effect(tmp_path: Path, options: list[str], message: str) -> None:
    result = run("embed", PHOTOS, *MODEL, "-o", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_several_endpoints_as_numbers_of_half_the_size(tmp_path: Path, photos: Path) -> None:
    chosen = ["--endpoint", "Cell_0", "--endpoint", "global_pool", "--vectors", "float16", "--normalize"]
    assert run("embed", photos, *MODEL, "-o", tmp_path / "out", *chosen).exit_code == 0
    schema = pq.read_schema(next((tmp_path / "out").glob("part-*")))
    assert schema.names[1:3] == ["embedding_Cell_0", "embedding_global_pool"]
    assert "halffloat" in str(schema.field("embedding_Cell_0").type)
    assert schema.metadata[b"pnasnet.normalized"] == b"true"
    assert schema.field("embedding_Cell_0").metadata[b"pnasnet.endpoint"] == b"Cell_0"
