"""Helpers for the tests of searches: made-up accuracies that depend on the cell and can be learnt."""

import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.errors import InputError
from pnasnet.search.algorithms import run_algorithm
from pnasnet.search.config import SearchConfig, Strategy
from pnasnet.search.evaluator import Train
from pnasnet.search.journal import JOURNAL, Child, Journal
from pnasnet.search.observed import Floats, Observed
from pnasnet.search.run import budget, identity, search_name
from pnasnet.search.session import Children, Session
from pnasnet.search.space import EncodedCells, SearchSpace

SPACE = SearchSpace(("identity", "max3", "sep3", "sep5"), 3)
_WORTH = {"identity": 0.0, "max3": 0.03, "sep3": 0.11, "sep5": 0.15}


def accuracy_of(cell: CellSpec) -> float:
    """Return a made-up accuracy, equal for equivalent cells: from convolutions, depth, and some noise."""
    cell = cell.canonical()
    ends = [end for block in cell.blocks for end in ((block[0], block[1]), (block[2], block[3]))]
    worth = np.mean([_WORTH.get(operation, 0.05) + 0.02 * min(state, 2) for operation, state in ends])
    digest = hashlib.sha256(json.dumps(cell.to_dict()).encode()).digest()
    return float(0.4 + worth + 0.03 * len(cell.blocks) + 0.01 * (digest[0] / 255 - 0.5))


def configured(**changes: Any) -> SearchConfig:
    """Return CONFIG with other values in its section `search`."""
    return replace(CONFIG, search=replace(CONFIG.search, **changes))


def accuracies(space: SearchSpace, rows: EncodedCells) -> Floats:
    return np.array([accuracy_of(space.decode(row)) for row in rows], np.float32)


def observed(space: SearchSpace, rows: EncodedCells) -> Observed:
    return Observed(space.tokens(rows), accuracies(space, rows))


CONFIG = SearchConfig(
    SPACE,
    search=Strategy(
        algorithms=("progressive", "random", "evolution"), beam=8, predictor="linear",
        models=40, population=10, sample=3, ahead=3,
    ),
)  # fmt: skip
DATA = {"pictures": 3, "classes": ["a", "b"]}


def child_of(cell: CellSpec, **changes: Any) -> Child:
    accuracy = accuracy_of(cell)
    return replace(Child(accuracy, (accuracy / 2, accuracy), "ok", "", 0, 2.0, "here", 1, "2026-01-01"), **changes)


class FakeEvaluator:
    """Makes up children in threads, in an order of its own, and records their cells."""

    def __init__(self, workers: int = 1, delays: bool = False, stop_after: int | None = None) -> None:
        self.workers, self.trained = workers, list[CellSpec]()
        self._delays, self._stop_after = delays, stop_after

    def train(self, cell: CellSpec) -> Child:
        if self._stop_after is not None and len(self.trained) >= self._stop_after:
            raise InputError("pulled the plug")
        self.trained.append(cell)
        if self._delays:
            time.sleep(0.004 * (hash(cell) % 5))
        return child_of(cell)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class FakeTrainer:
    """A trainer in other processes. Each trained cell leaves a file in `folder`.

    Attributes:
        hang: cells with this operation take forever.
        die: the first so many children kill their process, after `seconds`.
        bad: the error to raise.
        seconds: how long a child takes.
    """

    folder: Path
    hang: str = ""
    die: int = 0
    bad: str = ""
    seconds: float = 0.0
    chance: float = 0.5

    def prepare(self) -> Train:
        if self.bad == "data":
            raise InputError("no such images")
        if self.bad == "disk":
            raise OSError("no disk")

        def train(cell: CellSpec, check: Callable[[], None]) -> Child:
            check()
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(json.dumps(cell.canonical().to_dict()).encode())
            started = len(list(self.folder.iterdir()))  # at the start: another may start, or start over, meanwhile
            time.sleep(self.seconds)
            if started <= self.die:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.bad == "crash":
                raise RuntimeError("a bug")
            if self.hang and any(self.hang in block for block in cell.blocks):
                time.sleep(600)
            return child_of(cell)

        return train

    def forget(self, cell: CellSpec) -> None:
        pass


def fill(folder: Path, config: SearchConfig, data: dict[str, Any] = DATA) -> Path:
    """Run a configuration's searches with made-up children."""
    folder.mkdir()
    with Journal(folder / JOURNAL) as journal:
        journal.claim(identity(config, data), config.to_dict())
        children = Children(journal, FakeEvaluator())
        for algorithm in config.search.algorithms:
            for seed in config.search.seeds:
                name = search_name(algorithm, seed)
                session = Session(name, config.space, children, journal, budget(config), config.search.ahead)
                run_algorithm(algorithm, config, seed, session)
        children.close()
    return folder


def without_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the flush of each row of a journal, which takes most of the time with made-up children."""
    monkeypatch.setattr("pnasnet.search.journal._SYNCHRONOUS", "OFF")
