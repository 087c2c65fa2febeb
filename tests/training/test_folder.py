"""A training's folder: whose it is, its checkpoints and figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pnasnet.errors import InputError, OutputError
from pnasnet.training.folder import claim, newest, newest_path, read_history, remove_older
from pnasnet.training.recipe import RmsProp

from tests.helpers.train_data import RECIPE


def test_another_recipe_is_refused_and_named(tmp_path: Path) -> None:
    claim(tmp_path, RECIPE)
    claim(tmp_path, replace(RECIPE, notes={"any": "words"}))
    other = replace(RECIPE, batch_size=4, spec=replace(RECIPE.spec, filters=8), optimizer=RmsProp())
    with pytest.raises(InputError) as caught:
        claim(tmp_path, other)
    assert str(caught.value).startswith(
        f"{tmp_path} holds a training with another recipe (spec.filters: 4 → 8; batch_size: 8 → 4; "
    )
    assert str(caught.value).endswith(" more): choose another folder")


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/run: Not a directory"):
        claim(tmp_path / "file/run", RECIPE)


def test_damaged_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(InputError, match=r"recipe\.json is damaged"):
        claim(tmp_path, RECIPE)


def test_history_of_several_runs_and_of_a_truncated_line(tmp_path: Path) -> None:
    for version, text in ((2, "epoch,loss,step\n1,0.2,9\n2,0.1"), (10, "epoch,loss,step,x\n2,0.05,9,\n,,\n")):
        (tmp_path / f"logs/version_{version}").mkdir(parents=True)
        (tmp_path / f"logs/version_{version}/metrics.csv").write_text(text)
    assert read_history(tmp_path) == [{"epoch": 1, "loss": 0.2}, {"epoch": 2, "loss": 0.05}]


def test_a_written_recipe_is_claimed_again(tmp_path: Path) -> None:
    claim(tmp_path, RECIPE)
    assert json.loads((tmp_path / "recipe.json").read_text())["kinds"]["schedule"] == "Cosine"


def test_newest_checkpoint_is_that_of_the_last_epoch(tmp_path: Path) -> None:
    """By its number: a copy of the folder has other times, and as text 9 comes after 10."""
    assert newest(tmp_path) is None
    for epoch in (10, 9, 2):
        newest_path(tmp_path, epoch).parent.mkdir(exist_ok=True)
        newest_path(tmp_path, epoch).write_text("")
    (tmp_path / "checkpoints/newest-x.ckpt").write_text("")
    assert newest(tmp_path) == newest_path(tmp_path, 10)
    remove_older(tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["newest-epoch=10.ckpt", "newest-x.ckpt"]
