"""`pnasnet embed`: rows, failures, exit codes, and what interruptions leave."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from cli_runs import MODEL, PHOTOS, error_of, run
from pnasnet import Module, images
from pnasnet.extract import sink

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
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
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
    del metadata["pnasnet.version"]
    assert metadata == {
        "pnasnet.model": "tiny_hub_tf1",
        "pnasnet.weights": MODEL[1],
        "pnasnet.weights_sha256": Module(MODEL[1], engine="fake").model.checksum,
        "pnasnet.endpoint": "global_pool",
        "pnasnet.preset": "slim",
        "pnasnet.image_size": "64x64",
        "pnasnet.exif": "true",
        "pnasnet.precision": "float32",
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


def test_quiet_and_last_line(tmp_path: Path, photos: Path) -> None:
    result = run("embed", photos, *MODEL, "-o", tmp_path / "f.parquet", "--quiet")
    assert result.stderr == ""
    assert result.stdout.startswith(f"{tmp_path}/f.parquet: 4 embedded, 0 failed, in ")
    assert "fake engine" in run("embed", photos, *MODEL, "-o", tmp_path / "g.parquet").stderr


def test_of_many_failures_some_are_shown_and_all_counted(tmp_path: Path) -> None:
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
        (["empty", *MODEL], "'empty' holds no picture, and neither do its folders: looked for .bmp"),
        (["photos", *MODEL, "-o", "none/f.parquet"], "cannot write none/f.parquet: there is no folder none; create"),
        (["photos", *MODEL, "-o", "photos"], "cannot write photos: it is a folder"),
        (["photos", *MODEL, "-o", "there.parquet"], "there.parquet exists: "),
        (["photos", "-m", "pnasnet_larg"], "unknown model 'pnasnet_larg': did you mean pnasnet_large"),
        (["photos", "-m", "pnasnet_large"], "pnasnet-5_large_2017_12_13"),
        (["photos", *MODEL, "--preset", "slym"], "unknown preset 'slym': did you mean slim"),
        (["photos", *MODEL, "--endpoint", "Cell_1"], "endpoint Cell_1 is a map of "),
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
    assert message in error_of(run("embed", "-o", "f.parquet", *arguments))
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


def test_overwrite(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "f.parquet"
    output.write_text("old")
    assert run("embed", photos, *MODEL, "-o", output, "--overwrite").exit_code == 0
    assert len(pq.read_table(output)) == 4


def test_full_disk_is_one_line_and_one_that_says_what_is_left(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = os.posix_fallocate

    def limited(descriptor: int, start: int, length: int) -> None:
        if start > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(descriptor, start, length)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    monkeypatch.setattr(sink, "_GROUP_BYTES", 1)
    result = run("embed", photos, photos, *MODEL, "-o", tmp_path / "f.parquet", "--batch-size", "2")
    partial = tmp_path / "f.partial.parquet"
    assert error_of(result) == f"cannot write {partial}: No space left on device; free some space, or write elsewhere"
    rows = len(pq.read_table(partial))
    assert rows == 6
    assert result.stderr.splitlines()[-1] == f"the first {rows} rows are in {partial}"


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_keeps_the_rows_done(tmp_path: Path, photos: Path, number: signal.Signals, exit_code: int) -> None:
    many = [str(photos / "chelsea.jpg")] * 20_000
    output = tmp_path / "f.parquet"
    command = [sys.executable, "-m", "pnasnet", "embed", *many, *MODEL, "-o", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    partial = tmp_path / "f.partial.parquet"
    while not partial.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == exit_code, err
    assert out == ""
    table = pq.read_table(partial)
    assert 0 < len(table) < 20_000
    assert err.splitlines()[-2:] == ["error: interrupted", f"the first {len(table):,} rows are in {partial}"]
    assert not output.exists()
