"""Evaluation of predictors on random cells: the cells used, training of missing ones, and the figures."""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import InputError, LockedError, MissingExtraError, UnknownNameError
from pnasnet.search.config import SearchConfig
from pnasnet.search.journal import JOURNAL, Journal
from pnasnet.search.predictors import make_predictor, rank_correlation
from pnasnet.search.space import EncodedCells, SearchSpace
from pnasnet.search.trials import TRIALS, PredictorEvaluation, Protocol, Training, _pool, evaluate_predictors
from pnasnet.support.locks import locked

from tests.helpers.search_data import CONFIG, DATA, SPACE, FakeEvaluator, FakeTrainer, fill, observed, without_flushing

PROTOCOL = Protocol(cells=20, pool=30, trials=4, predictors=("linear",))
RANDOM = replace(CONFIG, search=replace(CONFIG.search, algorithms=("random",), models=12))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    without_flushing(monkeypatch)
    return fill(tmp_path / "run", RANDOM)


def train(
    folder: Path, monkeypatch: pytest.MonkeyPatch, evaluator: FakeEvaluator, data: object = DATA
) -> PredictorEvaluation:
    monkeypatch.setattr("pnasnet.search.trials.make_evaluator", lambda *_: evaluator)
    return evaluate_predictors(folder, PROTOCOL, Training(FakeTrainer(folder), data))  # type: ignore[arg-type]


def test_nothing_is_trained_without_training(folder: Path) -> None:
    """A random search has trained cells of three blocks alone."""
    evaluated = evaluate_predictors(folder, PROTOCOL)
    assert evaluated.rows == []
    assert evaluated.trained == {1: (0, 36), 2: (0, 30), 3: (12, 30)}
    lines = list(evaluated.lines())
    assert lines[:2] == ["1 block: 0 of 36 random cells trained", "2 blocks: 0 of 30 random cells trained"]
    assert lines[-1].startswith("nothing to evaluate yet: at least 3 random cells")


def test_a_pool_that_the_space_cannot_fill_has_all_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing ends after many draws without a new cell."""
    monkeypatch.setattr("pnasnet.search.trials._MISSES", 1000)
    space, sample, draws = SearchSpace(("max3", "sep3"), 2), SearchSpace.sample, itertools.count(1)

    def counting(space: SearchSpace, count: int, rng: np.random.Generator) -> EncodedCells:
        if next(draws) > 10_000:
            pytest.fail("drawing does not end")
        return sample(space, count, rng)

    monkeypatch.setattr(SearchSpace, "sample", counting)
    every = space.expand(space.one_block())
    pool = _pool(space, 2, replace(PROTOCOL, pool=1000), [])
    assert {cell.canonical() for cell in pool} == {space.decode(row).canonical() for row in every}
    assert len(pool) == len(space.distinct(every))
    assert next(draws) > 1000


def test_missing_cells_are_trained_once_and_figures_follow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = FakeEvaluator()
    evaluated = train(folder, monkeypatch, evaluator)
    assert evaluated.trained == {1: (36, 36), 2: (30, 30), 3: (30, 30)}
    assert len(evaluator.trained) == 36 + 30 + 30 - 12
    with Journal(folder / JOURNAL, readonly=True) as journal:
        assert [len(cell.blocks) for cell in list(journal.children())[12:18]] == [1, 2, 1, 2, 1, 2]  # 3 is known so far
    assert train(folder, monkeypatch, second := FakeEvaluator()) == evaluated
    assert second.trained == []
    assert [(row.predictor, row.level, row.cells, row.unseen) for row in evaluated.rows] == [
        ("linear", 1, 20, 30), ("linear", 2, 20, 30),
    ]  # fmt: skip
    written = json.loads((folder / TRIALS).read_text())
    assert written["rows"][0]["next"] == evaluated.rows[0].next
    assert written["protocol"]["cells"] == 20


def test_figures_are_means_over_trials_with_standard_errors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = train(folder, monkeypatch, FakeEvaluator()).rows[0]
    rng = np.random.default_rng([0, 2])
    pool: dict[bytes, np.ndarray] = {}
    while len(pool) < 30:
        drawn = SPACE.sample(1, rng)[0, :2]
        pool.setdefault(SPACE.canonical(drawn[None]).tobytes(), drawn)
    unseen, values = observed(SPACE, np.stack(list(pool.values()))), []
    for trial in range(4):
        chosen = np.random.default_rng([0, 1, trial]).permutation(36)[:20]
        known, predictor = observed(SPACE, SPACE.one_block()[chosen]), make_predictor("linear", SPACE, trial)
        predictor.fit([known])
        values.append([rank_correlation(predictor.predict(each.tokens), each.accuracies) for each in (known, unseen)])
    assert [row.fitted, row.next] == pytest.approx(np.mean(values, 0).tolist())
    assert [row.fitted_error, row.next_error] == pytest.approx((np.std(values, 0, ddof=1) / 2).tolist())


def test_after_an_interruption_the_cells_are_still_a_random_sample(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="pulled the plug"):
        train(folder, monkeypatch, FakeEvaluator(stop_after=20))
    trained = evaluate_predictors(folder, PROTOCOL).trained
    assert trained == {1: (10, 36), 2: (10, 30), 3: (12, 30)}
    with Journal(folder / JOURNAL) as journal:
        # A cell that a search chose for its predicted accuracy must not enter the sample out of turn.
        cell = SPACE.decode(SPACE.one_block()[35])
        journal.add(cell, next(iter(journal.children().values())))
    assert evaluate_predictors(folder, PROTOCOL).trained == trained


def test_failed_children_are_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(folder, monkeypatch, FakeEvaluator())
    with Journal(folder / JOURNAL) as journal:
        journal._write("UPDATE children SET status = 'failed' WHERE rowid = 13", ())
    assert evaluate_predictors(folder, PROTOCOL).trained[1] == (35, 36)


def test_the_papers_values_are_in_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(train(folder, monkeypatch, FakeEvaluator()).rows[0], predictor="mlp-ensemble", next=-0.25)
    lines = list(PredictorEvaluation([row], {}).lines())
    assert lines[-1].split()[:3] == ["mlp-ensemble", "1", "20"]
    assert "\N{MINUS SIGN}0.250 ± " in lines[-1]
    assert lines[-1].endswith("0.975 0.164")


def test_invalid_arguments_and_folders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"data\.pictures: 3 → 4"):
        train(folder, monkeypatch, FakeEvaluator(), {**DATA, "pictures": 4})
    with locked(folder), pytest.raises(LockedError):
        evaluate_predictors(folder, PROTOCOL)
    with pytest.raises(InputError, match="does not exist: use the folder of a search"):
        evaluate_predictors(tmp_path, PROTOCOL)
    with pytest.raises(UnknownNameError, match="unknown predictor 'mpl': did you mean mlp"):
        Protocol(predictors=("mpl",))
    for name in ("cells", "pool", "trials", "seed"):
        with pytest.raises(InputError, match=f"{name} must be at least"):
            replace(PROTOCOL, **{name: -1})  # type: ignore[arg-type]


def test_the_defaults_are_the_papers() -> None:
    assert (Protocol().cells, Protocol().pool, Protocol().trials) == (256, 10_000, 20)
    assert SearchConfig().search.predictor == "mlp-ensemble"


def test_missing_scipy_is_found_before_anything_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    evaluator = FakeEvaluator()
    with pytest.raises(MissingExtraError, match="needs scipy"):
        train(folder, monkeypatch, evaluator)
    assert evaluator.trained == []
