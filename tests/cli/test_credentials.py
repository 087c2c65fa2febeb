"""Credentials in the URL of a model or of weights appear nowhere."""

import logging
import sys
from pathlib import Path

import pytest

from pnasnet.cli.errors import for_command_line
from pnasnet.cli.logs import show_logs

from tests.helpers.cli_runs import PHOTOS, run
from tests.helpers.finetune_data import folder_of

URL = "https://me:s3cret@example.invalid/w.tar.gz?X-Amz-Signature=s3cret&version=2"
HANDLE = "https://tfhub.dev/google/imagenet/pnasnet_large/feature_vector/{}?token=s3cret"


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", PHOTOS, "-o", "{out}.parquet", "-w", URL),
        ("embed", PHOTOS, "-o", "{out}.parquet", "-m", URL),
        ("embed", PHOTOS, "-o", "{out}.parquet", "-m", "pnasnet_tiny", "-w", URL),
        ("embed", PHOTOS, "-o", "{out}.parquet", "-m", "pnasnet_tiny", "--with", HANDLE.format(9)),
        ("classify", PHOTOS, "-m", HANDLE.format(1)),
        ("evaluate", URL, "{out}"),
        ("evaluate", "{out}", HANDLE.format(1)),
        ("train", "pnasnet_tiny", "{out}", "-o", "{out}", "-w", URL),
        ("convert", URL, "{out}.safetensors"),
        ("export", "pnasnet_tiny", "{out}.onnx", "-w", URL),
        ("models", URL),
        ("models", HANDLE.format(1)),
        ("models", "https://www.kaggle.com/models/google/nasnet/TensorFlow2/mobile/2?token=s3cret"),
    ],
)
def test_in_a_model_or_weights(
    arguments: tuple[str | Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "cache"))
    result = run(*(str(argument).format(out=tmp_path / "out") for argument in arguments))
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
    assert "s3cret" not in result.output
    if URL in arguments and arguments[0] != "evaluate":  # whose data is opened first
        assert "https://example.invalid/w.tar.gz?version=2" in result.stderr  # what is wrong is still named


def test_in_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(quiet=False)
    logging.getLogger("pnasnet.weights").info("%s is opened", URL)
    assert capsys.readouterr().err == "https://example.invalid/w.tar.gz?version=2 is opened\n"


def test_in_a_model_card_and_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder_of(tmp_path / "data", 10)
    arguments = ["finetune", str(data), "-o", str(tmp_path / "model"), "-m", "pnasnet_tiny"]
    monkeypatch.setattr(sys, "argv", ["pnasnet", *arguments, "--weights", URL])
    assert run(*arguments).exit_code == 0
    for file in (tmp_path / "model").rglob("*"):
        assert file.is_dir() or b"s3cret" not in file.read_bytes(), file
    assert "pnasnet finetune" in (tmp_path / "model" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("a exists: pass overwrite=True", "a exists: pass --overwrite"),
        ("leave out moving_averages=True", "leave out --moving-averages"),
        ("moving_averages=False uses the variables", "--no-moving-averages uses the variables"),
        ("pass weights=FILE, or train it", "pass --weights FILE, or train it"),
        ("pass --overwrite (overwrite=True)", "pass --overwrite"),
        ("choose a format with --format (format=...)", "choose a format with --format"),
        ("use aux_head=False", "use aux_head=False"),  # no option
        ("a (b=c).jpg does not exist", "a (b=c).jpg does not exist"),
    ],
)
def test_errors_name_options_instead_of_arguments(message: str, printed: str) -> None:
    assert for_command_line(message) == printed
