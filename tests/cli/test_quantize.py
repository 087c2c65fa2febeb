"""`pnasnet quantize`, and what other commands do with its folder."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.cli_runs import PHOTOS, error_of, run, usage_error_of
from tests.helpers.quantized_models import IMAGES, quantized_tiny


def test_it_prints_the_fidelity(tmp_path: Path) -> None:
    folder = tmp_path / "int8"
    numbers = ("--images", 64, "--held-out", 64, "--least-cosine", 0.98, "--threads", 1)
    result = run("quantize", "pnasnet_tiny", IMAGES, "-o", folder, *map(str, numbers))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"folder       {folder}, 2.")
    assert lines[1] == "calibration  64 images"
    assert lines[2] == "int8         100.0 % of the multiply-adds"
    assert lines[3].startswith("fidelity     cosine to float32: mean 0.99")
    assert lines[3].endswith(", on 64 held-out images")
    assert lines[4].startswith("same class   ")


def test_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images" in error_of(run("quantize", "pnasnet_tiny", tmp_path / "empty", "-o", tmp_path / "int8"))
    result = run("quantize", "pnasnet_tiny", PHOTOS, "-o", tmp_path / "int8")
    assert "quantization needs at least 64" in error_of(result)
    result = run("convert", quantized_tiny().folder, tmp_path / "out.safetensors")
    assert "is quantized to int8 and has no float32 weights" in error_of(result)
    assert not (tmp_path / "int8").exists()


def test_foreign_files_are_seen_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.quantize.run.open_model", lambda *_, **__: pytest.fail("the model was opened"))
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8/notes.txt").write_text("mine")
    arguments = ("quantize", "pnasnet_tiny", PHOTOS, "-o", tmp_path / "int8")
    assert "exists: choose another folder" in error_of(run(*arguments))
    assert "also holds notes.txt, which would be lost" in error_of(run(*arguments, "--overwrite"))
    for option, message in (
        (("--floating", "x"), "unknown precision 'x': choose one of: float32, bfloat16"),
        (("--held-out", "3"), "--held-out must be at least 32, not 3"),
        (("--preset", "x"), "unknown preset 'x': choose one of: hub, slim, timm"),
    ):
        assert usage_error_of(run(*arguments, *option)) == message


def test_an_explicit_precision_is_refused() -> None:
    folder = quantized_tiny().folder
    for result in (
        run("classify", PHOTOS, "--model", folder, "--precision", "float32"),
        run("evaluate", folder, IMAGES, "--precision", "float32"),
    ):
        message = error_of(result)
        assert message.startswith("precision float32: ")
        assert message.endswith("is quantized and runs in int8; leave the precision out")


def test_commands_open_it_like_other_weights(tmp_path: Path) -> None:
    folder, features = quantized_tiny().folder, tmp_path / "features.parquet"
    assert run("classify", PHOTOS, "--model", folder).exit_code == 0
    assert "top-1" in run("evaluate", folder, IMAGES, "--limit", "32").output
    photo, *others = sorted(PHOTOS.glob("*.jpg"))
    result = run("embed", *others, "--model", folder, "-o", features)
    assert result.exit_code == 0, result.output
    stated = {key.decode(): value.decode() for key, value in (pq.read_schema(features).metadata or {}).items()}
    assert stated["pnasnet.precision"] == "int8"
    assert stated["pnasnet.weights"] == str(folder)
    result = run("similar", photo, features)
    assert result.exit_code == 0, result.output


def test_its_vectors_are_not_mixed_with_those_of_float32(tmp_path: Path) -> None:
    features = tmp_path / "features.parquet"
    photo, *others = sorted(PHOTOS.glob("*.jpg"))
    assert run("embed", *others, "--model", "pnasnet_tiny", "-o", features).exit_code == 0
    error = error_of(run("similar", photo, features, "--model", quantized_tiny().folder))
    assert "weights_sha256 is " in error
    assert "precision is int8 against float32" in error


def test_it_opens_without_the_library_that_quantizes() -> None:
    code = (
        "import sys; sys.modules['nncf'] = None\n"
        "import numpy as np; from pnasnet import Module\n"
        f"print(Module({str(quantized_tiny().folder)!r}, threads=1)(np.zeros((1, 32, 32, 3), np.float32)).shape)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert ran.stdout.strip() == "(1, 960)"
