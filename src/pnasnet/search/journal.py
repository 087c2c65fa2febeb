"""The journal of a search: one durable row for each trained cell, and one for each choice.

It is an SQLite file, because a row must survive a crash as soon as it is known: each row is a transaction, flushed to
the disk (`synchronous=FULL`). SQLite comes with Python, and many programs read its files. The journal mode is not WAL:
rows are seconds apart, and between them, the journal is a single file that can be copied.
"""

import json
import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ..architecture.cells import CellSpec
from ..errors import InputError, OutputError, SpecError
from ..support.contexts import contextmanager
from ..support.text import differences, first_of

JOURNAL = "journal.sqlite"
"""Name of the journal in the folder of a search."""

Status = Literal["ok", "diverged", "timeout", "failed"]

_SYNCHRONOUS = "FULL"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS children (
    cell TEXT PRIMARY KEY,  -- canonical
    accuracy REAL NOT NULL, curve TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL,
    seed INTEGER NOT NULL, seconds REAL NOT NULL, machine TEXT NOT NULL, tries INTEGER NOT NULL, finished TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS chosen (
    search TEXT NOT NULL, position INTEGER NOT NULL, level INTEGER NOT NULL,
    cell TEXT NOT NULL,  -- as it was built
    predicted REAL,
    PRIMARY KEY (search, position)
);
"""
_CHILD = "accuracy, curve, status, error, seed, seconds, machine, tries, finished"


@dataclass(frozen=True)
class Child:
    """The result of training a cell.

    Attributes:
        accuracy: top-1 accuracy on the validation images after the last epoch, in [0, 1]. If the child diverged, the
            last measured accuracy, or the accuracy of guessing.
        curve: accuracy after each measured epoch, in [0, 1].
        status: `ok`, `diverged`, or, if the last attempt failed, `timeout` or `failed`.
        error: the error in one line; empty if the status is `ok`.
        seed: seed of the training.
        seconds: training time of all attempts.
        machine: description of the machine that trained it.
        tries: number of attempts.
        finished: date and time, ISO 8601 in UTC.
    """

    accuracy: float
    curve: tuple[float, ...]
    status: Status
    error: str
    seed: int
    seconds: float
    machine: str
    tries: int
    finished: str

    def __post_init__(self) -> None:
        if not (isinstance(self.accuracy, float) and 0 <= self.accuracy <= 1):
            raise InputError(f"accuracy {self.accuracy!r} is not in [0, 1]")
        if not all(isinstance(value, float | int) and 0 <= value <= 1 for value in self.curve):
            raise InputError("the curve has values outside [0, 1]")
        if self.status not in get_args(Status):
            raise InputError(f"status {self.status!r} is not one of {', '.join(get_args(Status))}")
        if not isinstance(self.seconds, float | int) or not 0 <= self.seconds < math.inf:
            raise InputError(f"seconds {self.seconds!r} is not a duration")


@dataclass(frozen=True)
class Choice:
    """A cell as a search built it, with its number of blocks and, if a predictor chose it, its predicted accuracy."""

    cell: CellSpec
    level: int
    predicted: float | None = None


class Journal:
    """An open journal. It is created if it is missing, unless `readonly`. Thread-safe, but only one process may write.

    All methods raise `InputError` if the file is damaged, and `OutputError` if it cannot be written.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path, self._lock = path, threading.Lock()
        if readonly and not path.exists():
            raise InputError(f"{path} does not exist: use the folder of a search")
        with self._errors(), ExitStack() as if_it_fails:
            # Not "ro": an unfinished transaction of a killed search must be rolled back before reading.
            address = f"{path.absolute().as_uri()}{'?mode=rw' if readonly else ''}"
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
            if_it_fails.callback(self._connection.close)
            self._connection.execute(f"PRAGMA query_only={int(readonly)}")
            self._connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS}")
            if not readonly:
                self._connection.executescript(_SCHEMA)
            self._connection.execute("SELECT * FROM children, chosen, settings LIMIT 1")
            if_it_fails.pop_all()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Settings.

    def claim(self, settings: dict[str, Any], config: dict[str, Any]) -> None:
        """Store the settings in a new journal, or check that they equal the stored ones; then store the configuration.

        Raises `InputError` if the settings differ.
        """
        own, found = json.loads(json.dumps(settings)), self._setting("settings")
        if found is not None and found != own:
            raise InputError(
                f"{self.path} was created with another configuration ({first_of(differences(found, own))}): use that "
                "configuration, or choose another folder"
            )
        for name, value in (("settings", own), ("config", config)):
            self._write("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def config(self) -> dict[str, Any]:
        """Return the configuration of the latest run."""
        found = self._setting("config")
        if found is None:
            raise InputError(f"{self.path} has no search yet: use the folder of a search")
        return found

    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes; none if the journal lacks them."""
        with self._row("the settings"):
            found = (self._setting("settings") or {}).get("data", {}).get("classes", [])
            return tuple(str(name) for name in found)

    def _setting(self, name: str) -> dict[str, Any] | None:
        rows = self._read("SELECT value FROM settings WHERE name = ?", (name,))
        with self._row(f"the {name}"):
            return dict(json.loads(rows[0][0])) if rows else None

    # Children.

    def child(self, cell: CellSpec) -> Child | None:
        """Return the child of a cell, or of an equivalent one; None if there is none."""
        rows = self._read(f"SELECT {_CHILD} FROM children WHERE cell = ?", (_text(cell.canonical()),))
        return self._child(rows[0], _text(cell)) if rows else None

    def children(self) -> dict[CellSpec, Child]:
        """Return all children by the canonical form of their cells, oldest first."""
        rows = self._read(f"SELECT cell, {_CHILD} FROM children ORDER BY rowid")
        return {self._cell(text): self._child(rest, text) for text, *rest in rows}

    def add(self, cell: CellSpec, child: Child) -> None:
        """Write a child durably, unless there is one of an equivalent cell."""
        values = (*(getattr(child, name) for name in _CHILD.split(", ")),)
        values = (values[0], json.dumps(child.curve), *values[2:])
        marks = ", ".join("?" * (1 + len(values)))
        self._write(f"INSERT OR IGNORE INTO children VALUES ({marks})", (_text(cell.canonical()), *values))

    def forget_lost(self) -> int:
        """Delete children that failed or exceeded the timeout; return their number."""
        with self._lock, self._errors():
            return self._connection.execute("DELETE FROM children WHERE status IN ('failed', 'timeout')").rowcount

    def copy_children(self, other: "Journal") -> int:
        """Copy the children of another journal that this one lacks, except failed ones; return their number.

        Raises `InputError` if the other's children were trained with other settings or on other images.
        """
        own, found = (
            {name: (each._setting("settings") or {}).get(name) for name in ("child", "data")} for each in (self, other)
        )
        if own != found:
            raise InputError(
                f"{other.path} has children of another kind ({first_of(differences(found, own))}): reuse none of it"
            )
        known = self.children()
        new = [(cell, child) for cell, child in other.children().items() if cell not in known]
        usable = [(cell, child) for cell, child in new if child.status not in ("failed", "timeout")]
        for cell, child in usable:
            self.add(cell, child)
        return len(usable)

    def copy_to(self, path: Path) -> None:
        """Copy the journal to another file. A search may be running."""
        with self._lock, self._errors(), closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def _child(self, row: Sequence[Any], cell: str) -> Child:
        with self._row(f"the row of cell {cell}"):
            accuracy, curve, *rest = row
            return Child(accuracy, tuple(json.loads(curve)), *rest)

    # Choices.

    def searches(self) -> list[str]:
        """Return the names of all searches."""
        return [name for (name,) in self._read("SELECT search FROM chosen GROUP BY search ORDER BY min(rowid)")]

    def chosen(self, search: str) -> list[Choice]:
        """Return the choices of a search in order."""
        rows = self._read(
            "SELECT position, level, cell, predicted FROM chosen WHERE search = ? ORDER BY position", (search,)
        )
        if [row[0] for row in rows] != list(range(len(rows))):
            raise InputError(self._damaged(f"search {search} has gaps"))
        choices = []
        for _, level, text, predicted in rows:
            with self._row(f"a choice of search {search}"):
                choices.append(Choice(self._cell(text), int(level), None if predicted is None else float(predicted)))
        return choices

    def choose(self, search: str, position: int, choices: Sequence[Choice]) -> None:
        """Write all choices, the first at `position`, in one transaction."""
        rows = [
            (search, position + index, choice.level, _text(choice.cell), choice.predicted)
            for index, choice in enumerate(choices)
        ]
        with self._lock, self._errors(), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO chosen VALUES (?, ?, ?, ?, ?)", rows)

    # The file.

    def _cell(self, text: Any) -> CellSpec:
        with self._row(f"the cell {text!r}"):
            return CellSpec.of(tuple(cast(Any, tuple(block)) for block in json.loads(text)))

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._errors(), closing(self._connection.execute(query, values)) as cursor:
            return cursor.fetchall()

    def _write(self, query: str, values: Sequence[Any]) -> None:
        with self._lock, self._errors():
            self._connection.execute(query, values)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise InputError(f"{self.path} is not the journal of a search: choose another folder") from error
            raise OutputError(f"cannot use {self.path}: {error}; rows written so far are kept") from error
        except sqlite3.DatabaseError as error:
            raise InputError(self._damaged(str(error))) from error

    @contextmanager
    def _row(self, what: str) -> Iterator[None]:
        try:
            yield
        except (SpecError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise InputError(self._damaged(f"{what}: {error}")) from error

    def _damaged(self, reason: str) -> str:
        return f"{self.path} is damaged ({reason}): nothing was changed; restore a copy, or choose another folder"


def _text(cell: CellSpec) -> str:
    return json.dumps([list(block) for block in cell.blocks], separators=(",", ":"))
