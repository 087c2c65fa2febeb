"""`pnasnet similar`: options that this command line does not need are checked, or refused as without effect."""

from pathlib import Path

import pytest

from pnasnet.vectors.index import index_folder

from tests.helpers.cli_runs import MODEL, PHOTOS, error_of, run


@pytest.fixture
def features(tmp_path: Path) -> Path:
    path = tmp_path / "features.parquet"
    assert run("embed", PHOTOS, *MODEL, "-o", path).exit_code == 0
    return path


@pytest.mark.parametrize(
    ("options", "message", "exit_code"),
    [
        (("--model", "no_such_model"), "unknown model 'no_such_model'", 2),
        (("--model", "pnasnet_tiny", "--engine", "fake"), "cannot be compared: model is pnasnet_tiny against", 1),
        (("--weights", PHOTOS / "chelsea.jpg"), "chelsea.jpg has no known format: pass", 1),
        (("--weights", "gone.safetensors"), "gone.safetensors does not exist: pass", 1),
        (("--engine", "no_such_engine"), "unknown engine 'no_such_engine'", 2),
    ],
)
def test_options_of_the_model_are_checked_even_if_no_query_needs_it(
    features: Path, options: tuple[str | Path, ...], message: str, exit_code: int
) -> None:
    assert message in error_of(run("similar", PHOTOS / "chelsea.jpg", features, *options), exit_code)


@pytest.mark.parametrize("option", ["-m", "--weights", "--engine", "--threads", "-k", "--json", "--exact", "--html"])
def test_without_a_query_its_options_are_refused(features: Path, tmp_path: Path, option: str) -> None:
    page = tmp_path / "page.html"
    values: dict[str, list[str | Path]] = {"--json": [], "--exact": [], "--html": [page], "--engine": ["torch"]}
    result = run("similar", "--index", "--column", "embedding", features, option, *values.get(option, ["1"]))
    assert result.exit_code == 2
    assert "needs a query: without one, --index only builds the index" in result.stderr
    assert not index_folder(features).exists()
    assert not page.exists()
    assert run("similar", "--index", "--column", "embedding", "--path-column", "path", "-q", features).exit_code == 0
