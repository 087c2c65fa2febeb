"""Loggers: figures are written to the folder, and to the loggers that the user chose."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import CSVLogger

from pnasnet.errors import MissingExtraError, UnknownNameError
from pnasnet.training.fit import fit
from pnasnet.training.loggers import open_loggers
from pnasnet.training.machine import Machine
from pnasnet.training.task import initial_network

from tests.helpers.train_data import MACHINE, RECIPE, training_pictures, validation_pictures

SHORT = replace(RECIPE, stages=((8, 2),))


class Heard(CSVLogger):
    """A logger of the user's own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.figures: list[tuple[int | None, dict[str, float]]] = []
        self.recipe: Any = None

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.figures.append((step, dict(metrics)))

    def log_hyperparams(self, params: Any = None) -> None:
        self.recipe = params


def test_a_logger_of_the_users_own(tmp_path: Path) -> None:
    heard = Heard(tmp_path / "own")
    fitted = train(tmp_path, replace(MACHINE, loggers=(heard,)))
    (last,) = [figures["loss"] for step, figures in heard.figures if step == 15]
    assert last == pytest.approx(fitted.history[-1]["loss"], rel=1e-6)
    assert heard.recipe == SHORT.to_dict()


def test_the_folder_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    with_validation = replace(MACHINE, validate_every=2)
    fit(SHORT, initial_network(SHORT), training_pictures(), validation_pictures(), tmp_path, with_validation)
    (file,) = tmp_path.glob("logs/version_*/metrics.csv")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["epoch"], row["step"], row["validation_top1"] == "") for row in rows] == [
        ("0", "7", True),
        ("1", "15", False),
    ]


@pytest.mark.filterwarnings("ignore")  # those of Google's clients, which tensorboardX imports if they are installed
def test_tensorboard(tmp_path: Path) -> None:
    train(tmp_path, replace(MACHINE, loggers=("tensorboard",)))
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    assert b"learning_rate" in events.read_bytes()


def test_a_logger_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.training.machine.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--logger wandb needs wandb, .*: pip install wandb"):
        open_loggers(Machine(loggers=("wandb",)), SHORT, tmp_path)


def test_an_unknown_logger() -> None:
    with pytest.raises(UnknownNameError, match="unknown logger 'tensorbord': did you mean tensorboard"):
        Machine(loggers=("tensorbord",))


def train(folder: Path, machine: Machine) -> Any:
    return fit(SHORT, initial_network(SHORT), training_pictures(), None, folder, machine)
