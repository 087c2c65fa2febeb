"""The journal: rows that last, rows that are damaged, and whose it is."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.errors import InputError, OutputError
from pnasnet.search.journal import Choice, Journal

from tests.helpers.databases import is_closed
from tests.helpers.search_data import child_of

CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 2, "sep5", 1)])
SAME = CellSpec.of([("max3", 0, "sep3", 1), ("sep5", 1, "identity", 2)])
OTHER = CellSpec.of([("sep5", 0, "sep5", 1)])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def change(journal: Journal, statement: str) -> None:
    journal.close()
    with sqlite3.connect(journal.path) as connection:
        connection.execute(statement)
    connection.close()


def test_a_child_is_found_by_any_equivalent_cell(journal: Journal) -> None:
    child = child_of(CELL, status="diverged", error="the loss became nan", curve=())
    journal.add(CELL, child)
    journal.add(SAME, child_of(OTHER))  # exists already
    with Journal(journal.path, readonly=True) as again:
        assert again.child(SAME) == again.child(CELL) == child
        assert again.child(OTHER) is None
        assert again.children() == {CELL.canonical(): child}
    journal.close()


def test_choices_keep_their_order_and_are_written_all_or_none(journal: Journal) -> None:
    first = [Choice(CELL, 2, 0.5), Choice(OTHER, 2, 0.25)]
    journal.choose("a", 0, first)
    journal.choose("b", 0, [Choice(OTHER, 3)])
    with pytest.raises(InputError, match="UNIQUE"):
        journal.choose("a", 1, [Choice(SAME, 3), Choice(OTHER, 3)])
    assert journal.chosen("a") == first
    assert journal.searches() == ["a", "b"]
    journal.close()


def test_another_configuration_is_refused_with_the_difference(journal: Journal) -> None:
    journal.claim({"child": {"epochs": 3, "filters": 8}}, {"seeds": [0]})
    journal.claim({"child": {"epochs": 3, "filters": 8}}, {"seeds": [0, 1]})
    assert journal.config() == {"seeds": [0, 1]}
    with pytest.raises(
        InputError, match=r"was created with another configuration \(child\.epochs: 3 → 4\): use that configuration"
    ):
        journal.claim({"child": {"epochs": 4, "filters": 8}}, {})
    journal.close()


def test_the_limits_of_a_childs_figures_are_allowed(journal: Journal) -> None:
    """Children that classify every image of an epoch correctly, or none, in no time."""
    perfect, worst = (
        child_of(cell, accuracy=value, curve=(1.0 - value, value), seconds=0.0)
        for cell, value in ((CELL, 1.0), (OTHER, 0.0))
    )
    journal.add(CELL, perfect)
    journal.add(OTHER, worst)
    assert journal.children() == {CELL.canonical(): perfect, OTHER.canonical(): worst}
    journal.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE children SET accuracy = 'abc'", "accuracy 'abc' is not in [0, 1]"),
        ("UPDATE children SET accuracy = 1.5", "accuracy 1.5 is not in [0, 1]"),
        ("UPDATE children SET accuracy = -0.5", "accuracy -0.5 is not in [0, 1]"),
        ("UPDATE children SET curve = '[0.5'", "Expecting"),
        ("UPDATE children SET curve = '[7]'", "the curve has values outside [0, 1]"),
        ("UPDATE children SET curve = '[-0.5]'", "the curve has values outside [0, 1]"),
        ("UPDATE children SET status = 'fine'", "status 'fine' is not one of ok, "),
        ("UPDATE children SET seconds = -1", "seconds -1.0 is not a duration"),
        ("UPDATE children SET seconds = 9e999", "seconds inf is not a duration"),
        ('UPDATE children SET cell = \'[["sep9",0,"max3",1]]\'', "unknown operation 'sep9'"),
        ('UPDATE children SET cell = \'[["sep3",7,"max3",1]]\'', "reads state 7"),
        ("UPDATE children SET cell = '7'", "the cell '7'"),
    ],
)
def test_a_damaged_row_is_one_line(journal: Journal, statement: str, message: str) -> None:
    journal.add(CELL, child_of(CELL))
    change(journal, statement)
    with Journal(journal.path) as again, pytest.raises(InputError) as caught:
        again.children()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "is damaged" in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM chosen WHERE position = 0", "search a has gaps"),
        ("UPDATE chosen SET predicted = 'x'", "could not convert"),
    ],
)
def test_damaged_choices(journal: Journal, statement: str, message: str) -> None:
    journal.choose("a", 0, [Choice(CELL, 2, 0.5), Choice(OTHER, 2)])
    change(journal, statement)
    with Journal(journal.path) as again, pytest.raises(InputError, match=message):
        again.chosen("a")


def test_files_that_are_not_journals(tmp_path: Path, connections: list[sqlite3.Connection]) -> None:
    path = tmp_path / "journal.sqlite"
    with pytest.raises(InputError, match="does not exist: use the folder of a search"):
        Journal(path, readonly=True)
    path.write_bytes(b"no data base" * 100)
    with pytest.raises(InputError, match=r"is damaged .*not a database"):
        Journal(path)
    path.unlink()
    sqlite3.connect(path).close()
    with pytest.raises(InputError, match="is not the journal of a search"):
        Journal(path, readonly=True)
    with pytest.raises(OutputError, match=r"cannot use .*unable to open"):
        Journal(tmp_path / "missing/journal.sqlite")
    assert len(connections) == 3
    assert all(map(is_closed, connections))


def test_a_row_is_on_the_disk_before_the_call_returns(journal: Journal) -> None:
    with Journal(journal.path) as other:
        assert other._read("PRAGMA synchronous") == [(2,)]  # FULL
        journal.add(CELL, child_of(CELL))
        assert other.child(CELL) == child_of(CELL)
        assert [path.name for path in journal.path.parent.iterdir()] == ["journal.sqlite"]
    journal.close()


def test_a_journal_with_a_half_written_row_can_be_read(journal: Journal) -> None:
    """A transaction that was neither committed nor rolled back: its journal is beside the file."""
    journal.add(CELL, child_of(CELL))
    script = f"""if True:
        import os, sqlite3
        connection = sqlite3.connect({str(journal.path)!r}, isolation_level=None)
        connection.execute("PRAGMA cache_size=1")  # so that pages are written before the end
        connection.execute("BEGIN")
        connection.execute("UPDATE children SET accuracy = 0.9")
        rows = [("x", number, 1, "y" * 500, None) for number in range(5000)]
        connection.executemany("INSERT INTO chosen VALUES (?, ?, ?, ?, ?)", rows)
        os._exit(9)
    """
    journal.close()
    subprocess.run([sys.executable, "-c", script], check=False, timeout=600)
    assert Path(f"{journal.path}-journal").exists()
    with Journal(journal.path, readonly=True) as again:
        assert again.children() == {CELL.canonical(): child_of(CELL)}
        assert again.searches() == []
        with pytest.raises(OutputError, match="readonly"):
            again.add(OTHER, child_of(OTHER))


def test_a_copy_is_complete(journal: Journal, tmp_path: Path) -> None:
    journal.add(CELL, child_of(CELL))
    journal.copy_to(tmp_path / "copy.sqlite")
    with Journal(tmp_path / "copy.sqlite", readonly=True) as copy:
        assert copy.children() == journal.children()
