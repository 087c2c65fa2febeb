"""Resuming from the journal of an earlier search, and reusing its children."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pnasnet.errors import InputError
from pnasnet.search.config_file import config_from_dict
from pnasnet.search.journal import Journal
from pnasnet.search.run import Workers, identity, search

from tests.helpers.search_data import CONFIG, DATA, FakeTrainer, configured, without_flushing


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_flushing(monkeypatch)


def test_a_damaged_row_is_an_error_before_anything_is_trained(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    arguments = (configured(models=3), FakeTrainer(seen), DATA, tmp_path / "out", Workers(1))
    search(*arguments)
    with sqlite3.connect(tmp_path / "out/journal.sqlite") as connection:
        connection.execute("UPDATE children SET accuracy = 7")
    connection.close()
    count = len(list(seen.iterdir()))
    with pytest.raises(InputError, match=r"is damaged \(.*accuracy 7\.0 is not in \[0, 1\]\): nothing was changed"):
        search(*arguments)
    assert len(list(seen.iterdir())) == count


def test_children_of_another_search_are_reused(tmp_path: Path) -> None:
    """A search with another predictor makes other choices, and needs no other children."""
    seen = tmp_path / "seen"
    seen.mkdir()
    config, trainer = configured(models=12, algorithms=("random",)), FakeTrainer(seen)
    search(config, trainer, DATA, tmp_path / "one", Workers(1))
    other = configured(models=12, algorithms=("random",), predictor="random")
    with pytest.raises(InputError, match=r"another configuration \(search\.predictor: linear → random\)"):
        search(other, trainer, DATA, tmp_path / "one", Workers(1))
    done = search(other, trainer, DATA, tmp_path / "two", Workers(1), reuse=tmp_path / "one")
    assert done.trained == 0
    epochs = replace(other, child=replace(other.child, epochs=1))
    with pytest.raises(InputError, match=r"children of another kind \(child\.epochs: 20 → 1\)"):
        search(epochs, trainer, DATA, tmp_path / "three", Workers(1), reuse=tmp_path / "one")


def test_a_journal_from_before_augmentation_could_be_chosen_is_resumed(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.claim(identity(CONFIG, DATA), CONFIG.to_dict())
        stored = journal.config()
        assert "augmentation" not in stored["child"]
        assert config_from_dict(stored, "journal").child.augmentation == "shift"
        other = replace(CONFIG, child=replace(CONFIG.child, augmentation="crop-and-whiten"))
        with pytest.raises(InputError, match=r"child\.augmentation: none → crop-and-whiten"):
            journal.claim(identity(other, DATA), other.to_dict())
