"""The folder of a finished model: the same run, another one, or damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from pnasnet.errors import OutputError
from pnasnet.finetune import MODEL, FinetuneOptions
from pnasnet.finetune.folder import FinishedError, check_finished, check_folder

from tests.helpers.finetune_data import coloured


@pytest.mark.parametrize(
    "recorded",
    [
        None, [], 3, "text", {}, {"skipped": 3, "images": {}, "settings": {}, "classes": []},
        {"skipped": [], "images": [1], "settings": {}, "classes": []},
        {"skipped": [], "images": {"a": 3}, "settings": {}, "classes": []},
        {"skipped": [], "images": {"a": [3]}, "settings": 3, "classes": []},
    ],
)  # fmt: skip
def test_figures_in_another_form_are_those_of_an_earlier_version(tmp_path: Path, recorded: Any) -> None:
    (tmp_path / MODEL).write_bytes(b"")
    (tmp_path / "metrics.json").write_text(json.dumps(recorded))
    with pytest.raises(OutputError, match="holds a finished model of an earlier version: choose") as caught:
        check_finished(tmp_path, {}, coloured(1), FinetuneOptions())
    assert not isinstance(caught.value, FinishedError)


def test_a_folder_without_a_model_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    check_finished(tmp_path, {}, coloured(1), FinetuneOptions())


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    (tmp_path / ".hidden").write_text("")
    check_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(OutputError, match=r"holds other files \(notes\.txt\): choose a new or an empty folder"):
        check_folder(tmp_path)
    (tmp_path / "splits.parquet").write_text("")
    check_folder(tmp_path)
