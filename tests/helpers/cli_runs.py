"""What the tests of the command line share."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pnasnet.cli import main

from tests.helpers.vectors_data import clustered, write_features

HERE = Path(__file__).parents[1]
PHOTOS = HERE / "photos"
MODEL = ("--model", str(HERE / "checkpoints/tiny_hub_tf1"), "--engine", "fake")
"""A real module, 64x64, whose 160 features are the picture's mean colour over and over."""


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Make twelve rows of the four example photos, each three times."""
    folder = tmp_path / "photos"
    shutil.copytree(PHOTOS, folder)
    names = [str(path) for path in sorted(folder.glob("*.jpg"))] * 3
    return write_features(tmp_path / "features.parquet", clustered(12, 100), names)


def run(*arguments: str | Path) -> Result:
    """Run `pnasnet` within this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="pnasnet")


def error_of(result: Result, exit_code: int = 1) -> str:
    """Return the one line of an error; fail if there was none, more, or a traceback, or another exit code."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    return lines[0].removeprefix("error: ")


def usage_error_of(result: Result) -> str:
    """Return the one line of an error that is wrong usage."""
    return error_of(result, 2)
