"""A resumable folder of features: settings, atomically written Parquet files, and a mark of completeness.

    _settings.json    the settings; a run with other settings is refused
    _inputs.jsonl     the units of `embed`, listed once, so that a resumed run has the same inputs (see inputs.py)
    part-00000012-000000000.parquet   rows of unit 12, from its row 0 on
    _complete.json    written last: counts, and the hash of the settings
    _report.json, _report.html   the report of the run
    _contents.sqlite  part and row of each image's digest, if equal images are computed once (see contents.py)

Arrow, Spark and others read the folder as one table and ignore names that begin with `_` or a dot.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import OutputError
from ..pictures import Unit
from ..support.arguments import checked
from ..support.contexts import contextmanager
from ..support.files import DamagedError, final_name, read_json, reading, replacing, write_json, writing
from ..support.locks import LOCK, locked
from ..support.text import differences
from .part import ERROR, NAME, UNREACHABLE, Part, reading_part

SETTINGS, INPUTS, COMPLETE, CONTENTS = "_settings.json", "_inputs.jsonl", "_complete.json", "_contents.sqlite"
REPORTS = ("_report.json", "_report.html")
FORMAT = "2"
"""The setting `format` of `embed`. Earlier versions lacked it, and identified weights in another way."""
_OLD_FILES = ("_lock", "_overwriting.json")  # files of earlier versions
_FILES = {SETTINGS, INPUTS, COMPLETE, LOCK, *REPORTS, *_OLD_FILES}
_FILES |= {f"{CONTENTS}{end}" for end in ("", "-wal", "-shm", "-journal")}


@dataclass(frozen=True)
class Kept:
    """The rows that a folder holds of one unit.

    Attributes:
        rows: the number of rows, counted from the unit's first.
        finished: whether these are all of its rows.
        again: the rows to compute again: each part that has some, with their numbers within the unit.
    """

    rows: int = 0
    finished: bool = False
    again: tuple[tuple[Part, tuple[int, ...]], ...] = ()

    def has_all(self, unit: Unit) -> bool:
        """Return whether the unit has no further rows."""
        return self.finished or (unit.size is not None and self.rows >= unit.size)

    @property
    def repeated(self) -> int:
        """Number of rows to compute again."""
        return sum(len(rows) for _, rows in self.again)


class FeatureFolder:
    """A resumable folder of features. Use it within `opened`:

        folder = FeatureFolder("features")
        with folder.opened({"model": ..., "preset": ...}):    # locked; a folder with other settings is refused
            known = [pq.read_table(part) for part in folder.parts()]    # rows of earlier runs, killed ones included
            folder.append(table)                              # durable when it returns

    `append` is for callers that identify rows by a column of their own, such as a digest of the content. `embed`
    numbers its rows by unit instead: see `kept`, `write_part` and `replace_rows`.

    Every method that writes raises `OutputError` on failure.
    """

    @checked
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @contextmanager
    def opened(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Create the folder if needed, hold its lock within the block, and remove temporary files of killed runs.

        Raises:
            LockedError: another run holds the lock.
            OutputError: the folder was created with other settings, holds other files, or cannot be written to.
            InputError: its settings are damaged.
        """
        self.check_ours()
        with locked(self.path):
            if changed := self.differences(settings):
                old = "by an earlier version, " if any(each.startswith("format: none") for each in changed) else ""
                raise OutputError(
                    f"{self.path} was created {old}with other settings ({'; '.join(changed)}): use the same "
                    "settings, choose another folder, or overwrite it (--overwrite)"
                )
            if not (self.path / SETTINGS).exists():
                self.write_json(SETTINGS, settings)
            self._remove_temporaries()
            yield

    def differences(self, settings: Mapping[str, Any]) -> list[str]:
        """Return how `settings` differ from the folder's, each as `key: old → new`; none if it has none."""
        known = self._read_object(SETTINGS)
        if known == {} and settings:
            raise DamagedError(f"{self.path / SETTINGS} is damaged (it holds no settings): {_hint(SETTINGS)}")
        return [] if known is None else differences(known, json.loads(json.dumps(settings)))

    def mark(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the mark of completeness: `rows`, `failed` and `settings_sha256`.

        It is empty if the folder is incomplete, has lost parts, or was created with settings other than `settings`.
        """
        mark = self._read_object(COMPLETE) or {}
        if settings is not None and mark.get("settings_sha256") != settings_hash(settings):
            return {}
        return mark if mark.get("rows") == self.rows() and isinstance(mark.get("failed"), int) else {}

    def mark_complete(self, settings: Mapping[str, Any], rows: int, failed: int) -> None:
        """Record, durably, that all rows are present, `failed` of them with errors."""
        mark = {"rows": rows, "failed": failed, "settings_sha256": settings_hash(settings)}
        self.write_json(COMPLETE, mark)

    def unmark(self) -> None:
        """Record, durably, that rows are missing."""
        with writing(self.path):
            (self.path / COMPLETE).unlink(missing_ok=True)
            sync_folder(self.path)

    def parts(self, unit: int | None = None) -> list[Path]:
        """Return the paths of the parts, of one unit or of all, in the order of their rows."""
        start = "part-" if unit is None else f"part-{unit:08d}-"
        return [self.path / name for name in self._names() if name.startswith(start) and NAME.fullmatch(name)]

    def rows(self) -> int:
        """Return the number of rows in the parts."""
        return sum(kept.rows for kept in self.kept().values())

    def kept(self, unit: int | None = None, *, retry_errors: bool = False) -> dict[int, Kept]:
        """Return the rows kept of each unit, or of one. With `retry_errors`, failed ones are to be computed again."""
        return self._survey(unit, retry_errors)[0]

    def _survey(self, unit: int | None, retry_errors: bool) -> tuple[dict[int, Kept], list[Path]]:
        """Return the rows kept, and the parts to ignore: those after a gap, and rows for the rest of a unit."""
        known: dict[int, Kept] = {}
        apart: list[Path] = []
        for path in self.parts(unit):
            part = Part.read(path)
            if part is None or part.name != path.name:
                continue  # a file of another program
            before = known.get(part.unit, Kept())
            if part.first != before.rows:
                apart.append(path)
                continue
            known[part.unit] = _with_part(before, part, path, retry_errors)
            if part.rest and known[part.unit] == before:
                apart.append(path)
        return known, apart

    def resume(self, *, retry_errors: bool = False) -> dict[int, Kept]:
        """Return the rows kept of each unit, and remove the files that new rows would contradict.

        These are the mark of completeness, rows that stand for the rest of a unit, and parts after a removed one.
        """
        known, apart = self._survey(None, retry_errors)
        with writing(self.path):
            for path in [self.path / COMPLETE, *apart]:
                path.unlink(missing_ok=True)
        return known

    def write_part(self, part: Part, table: pa.Table) -> None:
        """Write a part atomically; it is durable when this returns."""
        with replacing(self.path / part.name) as temporary, temporary.open("wb") as file:
            part.write(file, table)  # to an open file, which is closed if the writer fails
        with writing(self.path):
            sync_folder(self.path)

    def replace_rows(self, part: Part, rows: Sequence[int], table: pa.Table) -> None:
        """Replace the rows with these numbers within the unit by those of `table`, and keep the part's other rows."""
        with reading_part(self.path / part.name):
            old = pq.read_table(self.path / part.name).cast(table.schema)
        order = np.arange(part.rows)
        order[np.array(rows) - part.first] = part.rows + np.arange(len(rows))
        new = pa.concat_tables([old, table]).take(order)
        unreachable = pc.sum(pc.equal(new["status"], UNREACHABLE)).as_py()
        self.write_part(replace(part, unreachable=unreachable), new)

    def append(self, table: pa.Table) -> None:
        """Write rows as a new part after all others."""
        unit = 1 + max((int(path.name.split("-")[1]) for path in self.parts()), default=-1)
        self.write_part(Part(unit, 0, len(table), last=True), table)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically and durably."""
        write_json(self.path / name, value)
        with writing(self.path):
            sync_folder(self.path)

    def others(self) -> list[str]:
        """Return the names of files that this package did not write."""
        return [name for name in self._names() if not _is_ours(name)]

    def remove(self) -> None:
        """Remove all files of this package, and the folder unless it holds others. Call it outside `opened`."""
        if not self.path.is_dir() or (not (self.path / SETTINGS).is_file() and self.others()):
            return
        with locked(self.path), writing(self.path):
            ours = [name for name in self._names() if _is_ours(name) and name != LOCK]
            for name in sorted(ours, key=SETTINGS.__eq__):  # the settings last: they identify the folder as ours
                (self.path / name).unlink(missing_ok=True)
        with writing(self.path):
            if not set(self._names()) - {LOCK}:
                (self.path / LOCK).unlink(missing_ok=True)
                self.path.rmdir()

    def _names(self) -> list[str]:
        with reading(self.path):
            return sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []

    def check_ours(self) -> None:
        """Raise `OutputError` if the folder holds files but no settings: it is not ours."""
        if not (self.path / SETTINGS).exists():
            for name in self.others():
                if not name.startswith("."):
                    raise OutputError(f"{self.path} holds other files ({name}): name a new folder or an empty one")

    def _remove_temporaries(self) -> None:
        with writing(self.path):
            for name in self._names():
                if final_name(name) and _is_ours(name):
                    (self.path / name).unlink(missing_ok=True)

    def _read_object(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        value: object = read_json(path, _hint(name))
        if isinstance(value, dict):
            return value
        if path.exists():
            raise DamagedError(f"{path} is damaged (it holds no JSON object): {_hint(name)}")
        return None


def _hint(name: str) -> str:
    return f"choose another folder, or {'remove it' if name == COMPLETE else 'overwrite it (--overwrite)'}"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings, in hexadecimal."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def sync_folder(path: Path) -> None:
    """Force a folder's file names to disk, if the system supports it. Raises OSError."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _with_part(before: Kept, part: Part, path: Path, retry_errors: bool) -> Kept:
    """Return the rows kept of a unit together with those of its next part."""
    failed = part.rows_with(path, (ERROR,)) if retry_errors else ()
    if part.rest and (failed or part.unreachable):
        return before  # the rest of the unit is computed again, from this row on
    if not part.has_rest and part.last and part.first + part.rows - 1 in failed:
        return before  # likewise: in older parts, the last row may stand for several
    unreachable = part.rows_with(path, (UNREACHABLE,)) if part.unreachable else ()
    again = tuple(sorted(unreachable + failed))
    parts = ((part, again),) if again else ()
    return Kept(part.first + part.rows, part.last, before.again + parts)


def _is_ours(name: str) -> bool:
    """Return whether this class writes files of this name, or temporary files for them."""
    plain = final_name(name) or name
    return plain in _FILES or NAME.fullmatch(plain) is not None
