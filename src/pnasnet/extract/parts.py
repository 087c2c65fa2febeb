"""The folder of features: parts that are whole or not there, what made them, and a mark when all is done.

    _settings.json   what made the vectors, and from which sources; other settings are refused
    _inputs.jsonl    the units, listed once, so that a run that goes on meets the same inputs; others may follow
    part-00000012-000000000.parquet   rows of unit 12, from its picture 0 on
    _overwriting.json   the hash of the settings where the folder was begun anew, until it is complete
    _complete.json   written last: counts, and the hash of the settings
    _report.json, _report.html   how it went

Names that begin with `_` are passed over by Arrow, Spark and others that read the folder as one table.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ..errors import InputError, OutputError
from ..pictures import Unit
from ..support.files import replacing
from .schema import GROUP_BYTES, VectorType, writer

SETTINGS, INPUTS, COMPLETE, LOCK = "_settings.json", "_inputs.jsonl", "_complete.json", "_lock"
OVERWRITING = "_overwriting.json"
_LISTED = ".new-inputs.jsonl"
"""The inputs to come, while what is there is still there."""
_UNIT, _FIRST, _LAST = b"pnasnet.unit", b"pnasnet.first", b"pnasnet.last"


@dataclass(frozen=True)
class Part:
    """A part: which rows of which unit it holds."""

    unit: int
    first: int
    rows: int
    last: bool
    """Whether the unit ends with it."""

    @property
    def name(self) -> str:
        """The file's name; names in order are rows in order."""
        return f"part-{self.unit:08d}-{self.first:09d}.parquet"


@dataclass(frozen=True)
class Progress:
    """How far a unit has come: its rows that are kept, and whether these are all."""

    rows: int = 0
    finished: bool = False

    def covers(self, unit: Unit) -> bool:
        """Whether nothing of the unit is left to do."""
        return self.finished or (unit.size is not None and self.rows >= unit.size)


class FeatureFolder:
    """A folder of features, on its way or complete."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the folder; nothing is read or written yet."""
        self.path = Path(path)

    @property
    def is_complete(self) -> bool:
        """Whether everything is there."""
        return (self.path / COMPLETE).is_file()

    @property
    def mark(self) -> dict[str, Any]:
        """What was said of the rows when everything was there; nothing before, or where parts are gone since."""
        try:
            said: dict[str, Any] = json.loads((self.path / COMPLETE).read_text(encoding="utf-8"))
            return said if said["rows"] == self.rows() else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def is_of(self, settings: Mapping[str, Any]) -> bool:
        """Whether everything is there, and was made with these settings."""
        return bool(self.mark.get("settings_sha256") == settings_hash(settings))

    @property
    def has_inputs(self) -> bool:
        """Whether the inputs have been listed."""
        return (self.path / INPUTS).is_file()

    def rows(self) -> int:
        """Return how many rows are kept."""
        return sum(progress.rows for progress in self.progress().values())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder, and keep others from writing to it.

        Raises `OutputError` where that cannot be, or where the folder holds something else, which is left as it is.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / SETTINGS).exists():
                self._check_empty()
            lock = FileLock(self.path / LOCK)
            lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(f"{self.path}: another run is writing to it; wait, or write elsewhere") from None
        except OSError as error:
            raise self._failed(error) from error
        try:
            yield
        finally:
            lock.release()

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the settings into a new folder; compare them in one that has some.

        Raises:
            OutputError: they differ, the folder holds something else, or cannot be written to.
        """
        try:
            text = (self.path / SETTINGS).read_text(encoding="utf-8")
        except FileNotFoundError:
            self._check_empty()
            self.write_json(SETTINGS, settings)
            return
        except OSError as error:
            raise self._failed(error) from error
        try:
            known = json.loads(text)
        except ValueError as error:
            raise OutputError(f"{self.path / SETTINGS} is damaged ({error}): write elsewhere") from error
        plain = json.loads(json.dumps(settings))
        differences = [
            f"{key} was {known.get(key)!r} and is now {plain.get(key)!r}"
            for key in sorted({*known, *plain})
            if known.get(key) != plain.get(key)
        ]
        if differences:
            raise OutputError(
                f"{self.path} was begun with other settings: {'; '.join(differences)}; "
                "take the same ones, write elsewhere, or overwrite it (--overwrite, overwrite=True)"
            )

    def list_inputs(self, units: Iterable[Unit]) -> int:
        """Keep the list of units, unless there is one; return how many they are.

        Raises `InputError` where there are none, `OutputError` where it cannot be written.
        """
        path = self.path / INPUTS
        if not self.has_inputs:
            self._list(units, path)
        with path.open("rb") as file:
            return sum(1 for _ in file)

    def _list(self, units: Iterable[Unit], path: Path) -> None:
        lines = _lines(units)
        if (first := next(lines, None)) is None:
            raise InputError("the list names no source: there is nothing to extract")
        with self._replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(chain([first], lines))

    def add_inputs(self, units: Iterable[Unit]) -> None:
        """Append units, if there are any, to the list; the folder is then no longer complete.

        Raises `OutputError` where that cannot be written.
        """
        path, lines = self.path / INPUTS, _lines(units)
        first = next(lines, None)
        if first is None:
            return
        with self._replacing(path) as temporary:
            shutil.copyfile(path, temporary)
            with temporary.open("a", encoding="utf-8") as file:
                file.writelines(chain([first], lines))
            # Before the list takes its place: at no moment is what it holds said to be complete.
            (self.path / COMPLETE).unlink(missing_ok=True)
            _sync_folder(self.path)

    def inputs(self) -> Iterator[Unit]:
        """Yield the units."""
        with (self.path / INPUTS).open(encoding="utf-8") as file:
            for line in file:
                yield Unit.from_dict(json.loads(line))

    def parts(self, unit: int | None = None) -> Iterator[Path]:
        """Yield the paths of the parts, of one unit or of all, in order."""
        yield from sorted(self.path.glob("part-*.parquet" if unit is None else f"part-{unit:08d}-*.parquet"))

    def progress(self, unit: int | None = None) -> dict[int, Progress]:
        """Return how far each unit, or that one, has come that was begun. Raises `OutputError` for a damaged part."""
        return self._survey(unit)[0]

    def resume(self) -> dict[int, Progress]:
        """Return the progress of all units, and remove what would contradict the rows to come: others of the same.

        That is the mark of completeness, and parts that do not join on, since a part before them is gone. Raises
        `OutputError` for a damaged part, and where something cannot be removed.
        """
        known, apart = self._survey(None)
        try:
            for path in [self.path / COMPLETE, *apart]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error
        return known

    def _survey(self, unit: int | None) -> tuple[dict[int, Progress], list[Path]]:
        """Return how far units have come, and the parts that do not join on."""
        known: dict[int, Progress] = {}
        apart: list[Path] = []
        for path in self.parts(unit):
            try:
                metadata = pq.read_metadata(path)
            except (OSError, pa.ArrowException) as error:
                raise OutputError(f"{path} is damaged ({error}): remove it, and run again") from error
            said = metadata.metadata or {}
            number, first, last = (int(said.get(key, -1)) for key in (_UNIT, _FIRST, _LAST))
            before = known.get(number, Progress())
            if first == before.rows:
                known[number] = Progress(first + metadata.num_rows, bool(last))
            elif number >= 0:  # of other programs' files there is nothing to say
                apart.append(path)
        return known, apart

    def write_part(self, part: Part, table: pa.Table, vectors: VectorType) -> None:
        """Write a part, which is there whole or not at all. Raises `OutputError` where it cannot be."""
        said = {_UNIT: str(part.unit), _FIRST: str(part.first), _LAST: str(int(part.last))}
        schema = table.schema.with_metadata({**(table.schema.metadata or {}), **said})
        group = max(1, GROUP_BYTES // max(1, table.nbytes // max(1, len(table))))
        table, names = table.replace_schema_metadata(schema.metadata), vectors.columns
        path = self.path / part.name
        # Through a file of our own, which is closed also where the writer fails to.
        with self._replacing(path) as temporary, temporary.open("wb") as file, writer(file, schema, names) as out:
            out.write_table(table, row_group_size=group)

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of JSON, whole or not at all."""
        self.write_text(name, json.dumps(value, indent=1) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text, whole or not at all."""
        with self._replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def remove_leftovers(self) -> None:
        """Remove what killed runs were about to write."""
        for path in [*self._leftovers(), *self.path.glob(f".*{_LISTED[1:]}")]:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what an earlier run has written; other files, and folders of others, stay, and are an error."""
        if not (self.path / SETTINGS).is_file():
            return  # parts are called so by other programs, too
        names = (INPUTS, "_report.json", "_report.html")
        left = [*(self.path / name for name in names), *self.path.glob("_contents.sqlite*")]
        first = [self.path / COMPLETE, self.path / OVERWRITING]
        # The settings last, for they are what shows that the folder is ours.
        for path in [*first, *self.parts(), *self._leftovers(), *left, self.path / SETTINGS]:
            path.unlink(missing_ok=True)

    def begin_to_overwrite(self, settings: Mapping[str, Any], units: Callable[[], Iterable[Unit]]) -> None:
        """Begin anew, and remember it until `end_overwriting`, so that the same command can go on.

        What is there is removed only once the new inputs have been listed. Raises as `list_inputs`.
        """
        listed = self.path / _LISTED
        if (self.path / SETTINGS).is_file():
            self._list(units(), listed)
        self.clear()
        self.check_settings(settings)
        self.write_json(OVERWRITING, settings_hash(settings))
        if listed.exists():
            listed.replace(self.path / INPUTS)

    def end_overwriting(self) -> None:
        """Let the next run that overwrites begin anew."""
        (self.path / OVERWRITING).unlink(missing_ok=True)

    def was_overwritten(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder was begun anew with the same settings, by a run that has not come to its end."""
        try:
            known = json.loads((self.path / OVERWRITING).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(known == settings_hash(settings))

    def discard(self) -> None:
        """Remove the folder, if there is nothing in it but what this class has written before any part."""
        for name in (OVERWRITING, SETTINGS):
            (self.path / name).unlink(missing_ok=True)
        if [path.name for path in self.path.iterdir()] == [LOCK]:
            (self.path / LOCK).unlink()
            self.path.rmdir()

    def _leftovers(self) -> Iterator[Path]:
        yield from self.path.glob(".*.*.parquet")
        yield from self.path.glob(".*._*")

    def _check_empty(self) -> None:
        left = sorted(path.name for path in self.path.iterdir() if path.name != LOCK and path.name[0] != ".")
        if left:
            raise OutputError(f"{self.path} holds other things ({left[0]}): name a new folder, or an empty one")

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Path]:
        """Let a file be written under another name, then give it its own; clean up where it cannot be written."""
        try:
            with replacing(path) as temporary:
                yield temporary
            _sync_folder(path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write to {self.path}: {error.strerror or error}; make room for it, or write elsewhere; "
            "the same command goes on with what is there"
        )


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings, in hexadecimal."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _lines(units: Iterable[Unit]) -> Iterator[str]:
    return (json.dumps(unit.to_dict()) + "\n" for unit in units)


def _sync_folder(path: Path) -> None:
    """Let a new name outlive a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
