"""Search algorithms with made-up accuracies: choices, budgets, and resuming."""

import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.errors import InputError, LockedError
from pnasnet.search.algorithms import observe, run_algorithm
from pnasnet.search.analysis import completed_steps
from pnasnet.search.config import SearchConfig
from pnasnet.search.evaluator import Patience
from pnasnet.search.journal import Child, Journal
from pnasnet.search.run import Workers, budget, search
from pnasnet.search.session import Budget, Children, Session, Step
from pnasnet.search.space import SearchSpace
from pnasnet.support.locks import locked

from tests.helpers.cli_runs import HERE
from tests.helpers.search_data import (
    CONFIG,
    DATA,
    SPACE,
    FakeEvaluator,
    FakeTrainer,
    accuracy_of,
    child_of,
    configured,
    without_flushing,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_flushing(monkeypatch)


def run(
    path: Path, algorithm: str, config: SearchConfig = CONFIG, seed: int = 0, evaluator: FakeEvaluator | None = None
) -> list[Step]:
    with Journal(path) as journal:
        children = Children(journal, evaluator or FakeEvaluator())
        try:
            session = Session(algorithm, config.space, children, journal, budget(config), config.search.ahead)
            return run_algorithm(algorithm, config, seed, session)
        finally:
            children.close()


def cells(steps: list[Step]) -> list[CellSpec]:
    return [step.choice.cell for step in steps]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


ONE = SPACE.decode(SPACE.one_block()[0])


class Late(Future[Child]):
    """A child that is done just after one has waited for it in vain."""

    def result(self, timeout: float | None = None) -> Child:
        if not self.done():
            self.set_result(child_of(ONE))
            raise TimeoutError
        return super().result(timeout)


def test_a_child_that_finishes_while_its_wait_times_out(path: Path) -> None:
    with Journal(path) as journal:
        children = Children(journal, FakeEvaluator())
        assert children.wait(Late()) == child_of(ONE)
        failed: Future[Child] = Future()
        failed.set_exception(TimeoutError("its own"))
        with pytest.raises(TimeoutError, match="its own"):
            children.wait(failed)
        children.close()


ALGORITHMS = pytest.mark.parametrize("algorithm", CONFIG.search.algorithms)


def test_progressive_search_adds_one_block_per_level(path: Path) -> None:
    config = configured(models=None, beam=8)
    steps = run(path, "progressive", config)
    sizes = [len(cell.blocks) for cell in cells(steps)]
    assert sizes == [1] * 36 + [2] * 8 + [3] * 8
    assert config.levels == [36, 8, 8]
    assert {cell.canonical() for cell in cells(steps[:36])} == {SPACE.decode(row) for row in SPACE.one_block()}
    for parents, level in ((steps[:36], steps[36:44]), (steps[36:44], steps[44:])):
        known = {cell.blocks for cell in cells(parents)}
        assert all(cell.blocks[:-1] in known for cell in cells(level))
        expected = [step.choice.predicted for step in level]
        assert expected == sorted(expected, reverse=True)  # type: ignore[type-var]
    assert len({cell.canonical() for cell in cells(steps)}) == len(steps)


def test_progressive_beats_random_search_on_learnable_accuracies(path: Path) -> None:
    config = configured(models=None)
    found = {name: cells(run(path, name, config)) for name in ("progressive", "random")}
    top = {name: np.mean(sorted(map(accuracy_of, found[name]))[-5:]) for name in found}
    assert len(found["progressive"]) == len(found["random"]) == 52
    assert top["progressive"] > top["random"]


def test_evolution_is_regularized(path: Path) -> None:
    """After the first ten, each is one change away from one of the ten before those that were not yet known."""
    steps = run(path, "evolution")
    rows = [SPACE.encode(cell) for cell in cells(steps)]
    for index in range(10, 40):
        known = rows[max(index - 2 - 10, 0) : index - 2]
        assert any((rows[index] != parent).sum() == 1 for parent in known)
    first, last = (np.mean([step.child.accuracy for step in part]) for part in (steps[:10], steps[-10:]))
    assert last > first


@ALGORITHMS
def test_a_budget_of_models(path: Path, algorithm: str) -> None:
    steps = run(path, algorithm, configured(models=17))
    assert len(steps) == len({cell.canonical() for cell in cells(steps)}) == 17
    more = run(path, algorithm, configured(models=25))
    assert cells(more)[:17] == cells(steps)
    assert len(more) == 25


@ALGORITHMS
def test_a_budget_of_hours_counts_children_in_the_journal(path: Path, algorithm: str) -> None:
    """Each child takes 2 s. The budget of 20 s is spent when 10 results are known; two more children have started."""
    config, evaluator = configured(hours=20 / 3600), FakeEvaluator(4, delays=True)
    steps = run(path, algorithm, config, evaluator=evaluator)
    assert len(steps) == len(evaluator.trained) == 12
    assert cells(run(path, algorithm, config)) == cells(steps)


def test_a_budget_is_in_seconds() -> None:
    assert budget(configured(hours=1.5)) == Budget(40, 5400.0)
    assert budget(configured(hours=None)) == Budget(40, None)


def test_a_budget_of_hours_ends_between_levels_as_in_the_analysis(path: Path) -> None:
    """71 s are 36 cells of one block of 2 s each, and known when the second level would begin: it is not chosen."""
    config = configured(hours=71 / 3600, models=None)
    steps = run(path, "progressive", config)
    with Journal(path) as journal:
        chosen, children = journal.chosen("progressive"), journal.children()
    assert completed_steps(budget(config), config.search.ahead, chosen, children) == steps
    assert len(steps) == len(chosen) == 36
    some = configured(hours=75 / 3600, models=None)
    steps = run(path, "progressive", some)
    assert len(steps) > 36
    with Journal(path) as journal:
        chosen, children = journal.chosen("progressive"), journal.children()
    assert completed_steps(budget(some), some.search.ahead, chosen, children) == steps


def test_five_failed_children_in_a_row_stop_the_search(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    arguments = (configured(models=20, algorithms=("progressive",)), DATA, tmp_path / "out")
    config, data, folder = arguments
    patience = Workers(1, patience=Patience(retries=0))
    with pytest.raises(
        InputError, match=r"5 children in a row could not be trained, the last one because: .*a bug; fix the cause"
    ):
        search(config, FakeTrainer(tmp_path / "seen", bad="crash"), data, folder, patience)
    done = search(config, FakeTrainer(tmp_path / "seen"), data, folder, patience, retry_failed=True)
    assert done.trained == 20
    with Journal(folder / "journal.sqlite", readonly=True) as journal:
        assert {child.status for child in journal.children().values()} == {"ok"}


@pytest.mark.parametrize("lost", [1, 3])
def test_predictors_ignore_failed_children(path: Path, lost: int) -> None:
    steps = run(path, "progressive", configured(models=36))
    failed = [replace(step, child=replace(step.child, status="failed")) for step in steps[:lost]]
    assert len(observe(SPACE, [*failed, *steps[lost:]]).accuracies) == 36 - lost
    with pytest.raises(InputError, match=r"none of . cells could be trained: pass --retry-failed"):
        observe(SPACE, failed)


@ALGORITHMS
def test_the_outcome_does_not_depend_on_workers_or_their_speed(tmp_path: Path, algorithm: str) -> None:
    evaluators = [FakeEvaluator(1), FakeEvaluator(4, delays=True)]
    found = [
        cells(run(tmp_path / f"{index}.sqlite", algorithm, evaluator=evaluator))
        for index, evaluator in enumerate(evaluators)
    ]
    assert found[0] == found[1]
    assert found[0] != cells(run(tmp_path / "other.sqlite", algorithm, seed=1))


@ALGORITHMS
@pytest.mark.parametrize("after", [0, 1, 7, 33])
def test_a_search_resumes_from_anywhere_and_trains_nothing_twice(tmp_path: Path, algorithm: str, after: int) -> None:
    whole = run(tmp_path / "whole.sqlite", algorithm)
    first, second = FakeEvaluator(2, stop_after=after), FakeEvaluator(2)
    with pytest.raises(InputError, match="pulled the plug"):
        run(tmp_path / "cut.sqlite", algorithm, evaluator=first)
    steps = run(tmp_path / "cut.sqlite", algorithm, evaluator=second)
    assert steps == whole
    assert len(first.trained) == after
    assert sorted(map(hash, first.trained + second.trained)) == sorted(
        {hash(cell.canonical()) for cell in cells(whole)}
    )


@pytest.mark.parametrize("after", [35, 36, 37, 39])
def test_a_progressive_search_resumes_between_two_levels(tmp_path: Path, after: int) -> None:
    """36 cells of one block, then 4 of two: with one worker, `after` children are in the journal when it stops."""
    config = configured(algorithms=("progressive",))
    whole = run(tmp_path / "whole.sqlite", "progressive", config)
    with pytest.raises(InputError, match="pulled the plug"):
        run(tmp_path / "cut.sqlite", "progressive", config, evaluator=FakeEvaluator(stop_after=after))
    with Journal(tmp_path / "cut.sqlite") as journal:
        chosen, children = journal.chosen("progressive"), journal.children()
    assert len(children) == after
    known = completed_steps(budget(config), config.search.ahead, chosen, children)
    assert known == whole[:after]
    second = FakeEvaluator()
    assert run(tmp_path / "cut.sqlite", "progressive", config, evaluator=second) == whole
    assert [cell.canonical() for cell in second.trained] == [cell.canonical() for cell in cells(whole[after:])]


@ALGORITHMS
def test_a_space_of_one_operation(path: Path, algorithm: str) -> None:
    config = replace(configured(models=20, beam=5), space=SearchSpace(("sep3",), 3))
    steps = run(path, algorithm, config)
    assert (
        len({cell.canonical() for cell in cells(steps)})
        == len(steps)
        == (3 + 5 + 5 if algorithm == "progressive" else 20)
    )
    assert {name for cell in cells(steps) for block in cell.blocks for name in block[::2]} == {"sep3"}


def test_searches_share_children(path: Path) -> None:
    run(path, "progressive")
    evaluator = FakeEvaluator()
    assert len(run(path, "progressive", seed=1, evaluator=evaluator)) == 40
    assert len(evaluator.trained) <= 4  # the 36 cells of one block are there


def test_recorded_choices_are_not_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError):
        run(path, "progressive", evaluator=FakeEvaluator(stop_after=37))
    monkeypatch.setattr("pnasnet.search.algorithms.make_predictor", None)  # needed no more: two levels, no third
    assert len(run(path, "progressive", configured(models=40))) == 40


def test_an_exhausted_space_ends_the_search(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.search.algorithms._MISSES", 300)
    tiny = replace(CONFIG, space=replace(SPACE, operations=("sep3", "max3"), blocks=1), search=CONFIG.search)
    steps = run(path, "random", tiny)
    assert len(steps) == len(tiny.space.one_block()) == 10


def test_two_searches_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LockedError, match="is in use by another run"):
        search(CONFIG, FakeTrainer(tmp_path), DATA, tmp_path)


_KILLED = """if True:
    import os, signal, sys
    from pathlib import Path
    from pnasnet.search.run import search, Workers
    from tests.helpers.search_data import CONFIG, DATA, FakeTrainer
    from pnasnet.search.journal import Child, Journal
    if __name__ == "__main__":
        folder, seen, after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
        add = Journal.add
        def counted(self, cell, child):
            add(self, cell, child)
            if 0 < after <= len(self.children()):
                os.kill(os.getpid(), signal.SIGKILL)
        Journal.add = counted
        done = search(CONFIG, FakeTrainer(seen), DATA, folder, Workers(2))
        print(done.trained, sum(map(len, done.steps.values())))
"""


@pytest.mark.slow
def test_a_search_resumes_after_sigkill(tmp_path: Path) -> None:
    """After SIGKILL, only the child that the other worker was training is trained again."""
    script, seen = tmp_path / "script.py", tmp_path / "seen"
    script.write_text(_KILLED)
    seen.mkdir()
    path = [*sys.path, str(HERE.parent)]
    outputs = []
    for after in (12, 60, 0):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / "out"), str(seen), str(after)],
            env={"PYTHONPATH": ":".join(path), "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        outputs.append((done.returncode, done.stdout))
    assert [code for code, _ in outputs] == [-9, -9, 0]
    trained, steps = map(int, outputs[-1][1].split())
    assert steps == 3 * 40
    with Journal(tmp_path / "out/journal.sqlite", readonly=True) as journal:
        count = len(journal.children())
        assert all(child.status == "ok" for child in journal.children().values())
    assert trained < count - 59
    begun = [file.read_text() for file in seen.iterdir()]
    assert len(begun) <= count + 2 * 2  # for each kill, at most the children of two workers


def test_check_can_stop_a_search_while_children_are_trained(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    seen = tmp_path / "seen"
    seen.mkdir()

    def check() -> None:
        if list(seen.iterdir()):
            raise StoppedError

    job = FakeTrainer(seen, hang="sep3")  # the first cell of this seed, or one soon after, never ends
    with pytest.raises(StoppedError):
        search(configured(algorithms=("progressive",)), job, DATA, tmp_path / "out", Workers(2), check=check)
    done = search(configured(models=1), FakeTrainer(seen), DATA, tmp_path / "out", Workers(1))
    assert [len(steps) for steps in done.steps.values()] == [1, 1, 1]
