"""Progress bars: on a terminal, in a notebook, hidden."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from pnasnet.support.progress import bar, bars, counter, silent

from tests.helpers.weights_server import Terminal


def work() -> None:
    with bars(unit="image") as progress:
        advance = counter(progress, "embed", 3)
        advance(2)
        advance(1)


def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))  # imported, but running no notebook
    work()
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work()
    assert terminal.getvalue() != ""


def test_bars_of_work_that_fails_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open bar would leave its line on the terminal, and the error would be printed behind it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def fail() -> None:
        with bars() as progress:
            progress("embed", 1, 3)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full") as failure:
        fail()
    assert failure.traceback  # which keeps the bar from being collected, and so from closing itself
    assert terminal.getvalue().endswith("\r")  # the line was cleared


def test_bars_are_shown_in_notebooks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error of a notebook is no terminal; without ipywidgets the bar is text there."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    work()
    assert capsys.readouterr().err != ""
    with bar(False, total=3, desc="embed") as hidden:
        hidden.update(3)
    assert capsys.readouterr().err == ""


def test_a_counter_reports_sums_from_the_first_item_on() -> None:
    seen: list[tuple[str, int, int | None]] = []
    advance = counter(lambda *state: seen.append(state), "rows", 10, done=4)
    advance(1)
    advance(5)
    assert seen == [("rows", 4, 10), ("rows", 5, 10), ("rows", 10, 10)]
    counter(silent, "rows", None)(3)
