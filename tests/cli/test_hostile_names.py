"""Names that a features file holds reach no terminal and no page with escapes, forged lines or reversed text."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.cli_runs import run
from tests.helpers.vectors_data import write_features

NAMES = ["a\x1b[2Jb.jpg", "c\u202egpj.exe", "d\nerror: forged.jpg", "e\x9b31m\u2066.jpg", "<script>f</script>.jpg"]
FORBIDDEN = "\x1b\x9b\u202e\u2066"


@pytest.mark.parametrize("command", ["similar", "duplicates", "explore"])
def test_hostile_names(tmp_path: Path, command: str) -> None:
    features = write_features(
        tmp_path / "f.parquet",
        np.ones((5, 8), np.float32),
        NAMES,
        metadata={"model": "m\x1b[31m", "weights": "w\u202e"},
    )
    page = tmp_path / "page.html"
    queries = [NAMES[0]] if command == "similar" else []
    options = ["--projection", "pca"] if command == "explore" else []
    result = run(command, *queries, features, *options, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text("utf-8")
    for shown in (result.stdout, result.stderr, text):
        assert not [sign for sign in FORBIDDEN if sign in shown]
    assert not [line for line in result.output.splitlines() if line.startswith("error")]
    assert "<script>f" not in text
    assert r"\u202e" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("\x1b[31m\u202e",),
        ("--\x1b[31m\u202e",),
        ("embed", "--\x1b[31m\u202e"),
        ("export", "pnasnet_tiny", "a.onnx", "\x1b[31m\u202e"),
        ("convert", "pnasnet_tiny", "a.safetensors", "--to", "\x1b[31m\u202e"),
        ("embed", "a", "-o", "a.parquet", "--root", "\x1b[31m\u202e"),
        ("similar", "a", "-k", "\x1b[31m\u202e"),
        ("search", "--\x1b[31m\u202e"),
        ("search", "compare", "a", "-o", "a.svg", "--top", "\x1b[31m\u202e"),
    ],
    ids=" ".join,
)
def test_hostile_words_of_the_command_line(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert not [sign for sign in FORBIDDEN if sign in result.output]
    assert r"\x1b[31m\u202e" in result.stderr.splitlines()[-1]
