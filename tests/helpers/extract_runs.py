"""Runs of an extraction, and a progress that interrupts them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pnasnet import Module
from pnasnet.extract import ExtractOptions, Report, Sources, columns_for, extract_to, list_units
from pnasnet.extract.output import Mode
from pnasnet.pictures import Unit, listing
from pnasnet.support.progress import Progress, silent

from tests.helpers.corpus import MODEL

THREE = ExtractOptions(batch_size=3)


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let units have four files, so that a few images make several."""
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 4)


@pytest.fixture(scope="module")
def module() -> Module:
    """Open the test model on the fake engine."""
    return Module(MODEL, engine="fake")


class StopAfter:
    """A progress that interrupts a run after so many new rows."""

    def __init__(self, rows: int) -> None:
        self._rows, self._before = rows, -1

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        self._before = done if self._before < 0 else self._before
        if done - self._before >= self._rows:
            raise KeyboardInterrupt


def run(
    module: Module,
    output: Path,
    *sources: Path,
    options: ExtractOptions = THREE,
    progress: Progress = silent,
    endpoints: tuple[str, ...] = ("global_pool",),
    units: Callable[[], Iterable[Unit]] | None = None,
    mode: Mode | None = None,
) -> Report:
    """Extract from sources by name, or from units."""
    names = [str(source) for source in sources]
    columns = columns_for([module], endpoints, options)
    listed = Sources(units or (lambda: list_units(names)), names)
    return extract_to(output, listed, columns, options, mode=mode, progress=progress)


class DeadError(BaseException):
    """Ends a process, as far as the files can tell."""


def dies_at(patch: pytest.MonkeyPatch, moment: int, action: Callable[[], object]) -> bool:
    """Die before files are renamed or removed for the `moment`-th time; return whether that happened."""
    changes = 0

    def guard(name: str) -> None:
        change = getattr(Path, name)

        def guarded(path: Path, *arguments: Any, **options: Any) -> Any:
            nonlocal changes
            if changes >= moment:  # whoever tidies up is dead, too
                raise DeadError
            changes += 1
            return change(path, *arguments, **options)

        patch.setattr(Path, name, guarded)

    for name in ("replace", "unlink", "rmdir"):
        guard(name)
    try:
        action()
    except DeadError:
        return True
    return False
