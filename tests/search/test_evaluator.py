"""Training children in processes: lost processes, timeouts, and children that fail."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.errors import InputError, OutOfMemoryError
from pnasnet.search.evaluator import LocalEvaluator, LostError, Patience, TooLongError, reply_of, with_patience
from pnasnet.search.journal import Child

from tests.helpers.search_data import FakeTrainer, child_of
from tests.helpers.waiting import until

CELL = CellSpec.of([("sep3", 1, "max3", 0)])
SLOW = CellSpec.of([("sep5", 1, "max3", 0)])


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def evaluate(job: FakeTrainer, *cells: CellSpec, patience: Patience | None = None) -> list[object]:
    evaluator = LocalEvaluator(job, 1, patience or Patience())
    try:
        return [evaluator.train(cell) for cell in cells]
    finally:
        evaluator.close()


def test_a_child_whose_process_is_killed_is_retried(seen: Path) -> None:
    assert evaluate(FakeTrainer(seen, die=2), CELL, SLOW) == [child_of(CELL, tries=3), child_of(SLOW)]
    assert len(list(seen.iterdir())) == 4


def test_after_the_last_attempt_it_is_recorded_at_chance(seen: Path) -> None:
    lost, fine = evaluate(FakeTrainer(seen, die=2), CELL, SLOW, patience=Patience(retries=1))
    assert (lost.status, lost.accuracy, lost.tries, lost.curve) == ("failed", 0.5, 2, ())  # type: ignore[attr-defined]
    assert lost.error == "its process died (-9)"  # type: ignore[attr-defined]
    assert fine == child_of(SLOW)


def test_a_child_that_exceeds_the_timeout(seen: Path) -> None:
    started = time.monotonic()
    slow, fine = evaluate(FakeTrainer(seen, hang="sep5"), SLOW, CELL, patience=Patience(timeout=2, retries=0))
    assert (slow.status, slow.error) == ("timeout", "not done within 2 s")  # type: ignore[attr-defined]
    assert slow.seconds >= 2  # type: ignore[attr-defined]
    assert fine == child_of(CELL)
    assert time.monotonic() - started < 60


def test_a_bug_fails_the_child_and_an_error_for_the_user_stops_the_search(seen: Path) -> None:
    (failed,) = evaluate(FakeTrainer(seen, bad="crash"), CELL, patience=Patience(retries=0))
    assert (failed.status, failed.error) == ("failed", "RuntimeError: a bug")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no such images"):
        evaluate(FakeTrainer(seen, bad="data"), CELL)
    with pytest.raises(InputError, match="OSError: no disk"):
        evaluate(FakeTrainer(seen, bad="disk"), CELL)


def test_close_kills_running_children(seen: Path) -> None:
    evaluator = LocalEvaluator(FakeTrainer(seen, hang="sep5"), 1, Patience())
    errors = []

    def train() -> None:
        try:
            evaluator.train(SLOW)
        except InputError as error:
            errors.append(str(error))

    thread = threading.Thread(target=train)
    thread.start()
    until(lambda: bool(list(seen.iterdir())))
    evaluator.close()
    thread.join(60)
    assert errors == ["the search was stopped"]


def test_the_longest_timeout_is_thirty_days() -> None:
    assert Patience(timeout=2_592_000.0).timeout == 2_592_000
    with pytest.raises(InputError, match="timeout of"):
        Patience(timeout=2_592_001.0)


@pytest.mark.parametrize("values", [{"timeout": 0.0}, {"timeout": float("nan")}, {"timeout": 1e10}, {"retries": -1}])
def test_patience_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"timeout of|retries must"):
        Patience(**values)  # type: ignore[arg-type]


def test_no_workers(seen: Path) -> None:
    with pytest.raises(InputError, match="workers must be at least 1, not 0"):
        LocalEvaluator(FakeTrainer(seen), 0, Patience())


@pytest.mark.parametrize(
    ("error", "kind"), [(OutOfMemoryError("too large"), "crashed"), (InputError("wrong"), "refused")]
)
def test_too_little_memory_fails_the_child_and_not_the_search(error: Exception, kind: str) -> None:
    """The child is retried, and at last recorded as failed. Any other error would stop every child."""

    def train(cell: CellSpec, check: Callable[[], None]) -> Child:
        raise error

    assert reply_of(train, CELL, lambda: None) == (kind, str(error))


def test_each_failed_attempt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    errors = iter((LostError("its process died"), TooLongError("not done within 2 s")))

    def attempt(started: Callable[[], None]) -> Child:
        raise next(errors)

    assert with_patience(attempt, Patience(retries=1), 0.5, 0, resumes=False).status == "timeout"
    assert [record.getMessage() for record in caplog.records] == [
        "attempt 1 of 2 to train a child failed: its process died",
        "attempt 2 of 2 to train a child failed: not done within 2 s",
    ]


@pytest.mark.parametrize("resumes", [True, False])
def test_seconds_are_those_of_all_attempts(resumes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that resumes the one before includes its time itself; otherwise it is added."""
    now, attempts = [100.0], list[int]()
    monkeypatch.setattr("pnasnet.search.evaluator.time", SimpleNamespace(monotonic=lambda: now[0]))

    def attempt(started: Callable[[], None]) -> Child:
        attempts.append(1)
        now[0] += 8
        if len(attempts) == 2:
            raise LostError("lost before training started")  # takes no time
        started()
        now[0] += 0.5
        if len(attempts) < 4:
            raise LostError("lost")
        return child_of(CELL)

    child = with_patience(attempt, Patience(retries=3), 0.5, 0, resumes=resumes)
    assert (child.tries, child.seconds) == (4, 2.0 if resumes else 3.0)
    attempts.clear()
    lost = with_patience(attempt, Patience(retries=2), 0.5, 0, resumes=resumes)
    assert (lost.status, lost.seconds) == ("failed", 1.0)
