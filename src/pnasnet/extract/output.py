"""The output of an extraction: a folder of parts, or one file joined from such a folder when it is complete.

    embed -o NAME/          parts in NAME/
    ... --overwrite         parts in NAME.new/, which replaces NAME/ when it is complete
    embed -o NAME.parquet   parts in NAME.partial/, joined into NAME.parquet when they are complete

If a run is killed, repeating its command resumes it.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError, OutputError, UnknownNameError
from ..support.arguments import checked
from ..support.contexts import contextmanager
from ..support.files import (
    DamagedError,
    check_expanded,
    check_target,
    remove_temporaries,
    replacing,
    temporaries,
    temporary_path,
    writing,
)
from ..support.locks import locked
from ..support.progress import Progress, counter, silent
from ..support.text import counted, utf8
from .columns import Column
from .folder import SETTINGS, FeatureFolder, settings_hash
from .inputs import Inputs
from .options import DEFAULTS, ExtractOptions
from .part import parquet_writer, read_groups
from .report import failures_in, move_report, write_report
from .run import Fill, Report, Sources, count_rows, fill_here, settings_of
from .schema import FeatureSchema

log = logging.getLogger(__name__)

FILE_SUFFIX = ".parquet"
_OTHER_FILES = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".feather"),
    *(".arrow", ".ipc", ".orc", ".avro", ".pq", ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".tfrecord"),
    *(".xlsx", ".xls", ".ods", ".sqlite", ".db", ".duckdb", ".zip", ".tar", ".gz", ".zst", ".html", ".md", ".pdf"),
)
"""Suffixes of other files: an output with such a name is a mistake, not a folder."""
_HASH, _ROWS, _FAILED = b"pnasnet.settings_sha256", b"pnasnet.rows", b"pnasnet.failed"

Mode = Literal["resume", "overwrite", "add", "retry-errors"]


@checked
def extract_to(
    output: str | os.PathLike[str],
    sources: Sources,
    columns: Sequence[Column],
    options: ExtractOptions = DEFAULTS,
    *,
    mode: Mode | None = None,
    fill: Fill | None = None,
    progress: Progress = silent,
) -> Report:
    """Write the vectors of all images, a row for each, in order.

    By default, a run starts, resumes a run with the same settings, or leaves a complete result unchanged. Unreachable
    rows of earlier runs are computed again.

    Args:
        output: a folder for parts and a report; or a file whose name ends in `.parquet`, with the report beside it as
            `NAME.report.json` and `NAME.report.html`.
        sources: the images.
        columns: the columns of vectors.
        options: how they are computed.
        mode: `resume`: fail unless there is a run to resume. `overwrite`: start over, and replace the existing output
            at the end; an interrupted run of this kind is resumed if its settings are the same. `add`: list the sources
            again, and append rows of new inputs to a folder. `retry-errors`: compute failed rows of a folder again.
        fill: computes the rows; None for `fill_here`, on this machine.
        progress: receives the number of rows. An exception that it raises ends the run; finished rows are kept.

    Raises:
        OutputError: the output cannot be written, exists, or was created with other settings; or there is nothing to
            resume. LockedError: another run is writing it.
        InputError: the output is a file of another kind, or a file although `mode` needs a folder; a source is missing,
            or some images could not be reached.
        UnknownNameError: there is no such mode.

    Example:
        >>> from functools import partial
        >>> from pnasnet import Module
        >>> from pnasnet.extract import ExtractOptions, Sources, columns_for, extract_to, list_units
        >>> columns = columns_for([Module("pnasnet_tiny")], ["global_pool"], ExtractOptions())
        >>> extract_to("new.parquet", Sources(partial(list_units, ["photos"]), ["photos"]), columns).rows
        4
    """
    check_output(output, mode, sources.names)
    fill = fill or partial(fill_here, columns=columns)
    run = _Extraction(Path(output), sources, columns, options, mode, fill, progress)
    return run.to_file() if run.path.suffix.lower() == FILE_SUFFIX else run.to_folder()


def check_output(output: str | os.PathLike[str], mode: Mode | None = None, sources: Iterable[str] = ()) -> None:
    """Check an output before any work. Raises `OutputError` if it cannot be written, or is one of the sources.

    Raises `InputError` for a file of another kind, for a file with a mode that needs a folder, and for a name that is
    not UTF-8; and `UnknownNameError` for an unknown mode.
    """
    path = Path(output)
    if mode is not None and mode not in get_args(Mode):
        raise UnknownNameError.of("mode", mode, get_args(Mode))
    check_expanded(path)
    if utf8(str(path)) != str(path):
        raise InputError(f"cannot write {path}: its name is not UTF-8, and Arrow opens no such file; rename it")
    suffix = path.suffix.lower()
    if mode == "overwrite" and path.resolve().is_mount():
        raise OutputError(f"cannot overwrite {path}: it is a mount point and cannot be renamed; name a folder in it")
    if suffix == FILE_SUFFIX:
        if mode in ("add", "retry-errors"):
            raise InputError(f"--{mode} needs a folder of parts, and {path} is one file: name a folder")
        check_target(path, inputs=sources)
    elif path.is_file() or (path.name.strip().lower().endswith((FILE_SUFFIX, *_OTHER_FILES)) and not path.is_dir()):
        raise InputError(f"cannot write {path}: name a folder, or a file whose name ends in {FILE_SUFFIX}")
    elif path.is_dir():
        FeatureFolder(path).check_ours()


@dataclass
class _Extraction:
    """One call of `extract_to`, with its arguments."""

    path: Path
    sources: Sources
    columns: Sequence[Column]
    options: ExtractOptions
    mode: Mode | None
    fill: Fill
    progress: Progress

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that a resumed run must share."""
        return settings_of(self.sources, self.columns)

    def to_folder(self) -> Report:
        folder = FeatureFolder(self.path.resolve() if self.path.is_symlink() else self.path)
        place = Path(os.path.abspath(folder.path))  # noqa: PTH100 - resolves `.`, but no links
        new = FeatureFolder(place.with_name(f"{place.name}.new"))
        if not folder.path.exists() and new.mark():
            _swap(new, folder)  # an earlier run was killed between the two renames of `_swap`
            self.mode = None if self.mode == "overwrite" else self.mode
        if self.mode != "overwrite":
            return self._into(folder)
        folder.check_ours()
        self._start_over(new)
        report = self._into(new)
        _swap(new, folder)
        return report

    def to_file(self) -> Report:
        """Write parts to a folder, and join them into a file."""
        file, folder = self.path, FeatureFolder(self.path.with_suffix(".partial"))
        if file.exists() and self.mode != "overwrite":
            mark = _mark_of(file)
            if mark.get(_HASH) != settings_hash(self.settings):
                what = "exists, with other settings or of an earlier version" if mark else "exists"
                raise OutputError(f"{file} {what}: choose another name, or overwrite it (--overwrite)")
            report = _finished({"rows": int(mark[_ROWS]), "failed": int(mark[_FAILED])})
        else:
            if self.mode == "overwrite":
                self._start_over(folder)
            report = self._into(folder, partial(_join, folder, file, FeatureSchema.of(self.columns), self.settings))
        if not folder.differences(self.settings):
            if (folder.path / SETTINGS).is_file():
                move_report(folder, file)
            folder.remove()
        return report

    def _start_over(self, folder: FeatureFolder) -> None:
        """Remove the folder of an unfinished run with other settings."""
        if folder.differences(self.settings):
            folder.remove()

    def _into(self, folder: FeatureFolder, finish: Callable[[Report], None] = lambda report: None) -> Report:
        """Start, resume or extend the run of a folder. `finish` is called while its lock is held."""
        inputs = Inputs(folder)
        if self.mode == "resume" and not inputs.are_listed:
            raise OutputError(f"nothing to resume: no run has started in {folder.path}; leave out --resume")
        try:
            with folder.opened(self.settings), _noting(folder):
                vanished = inputs.add(self.sources.units()) if self.mode == "add" and inputs.are_listed else 0
                mark = folder.mark(self.settings)
                again = self.mode == "retry-errors" and mark.get("failed")
                report = _finished(mark) if mark and not again else self._complete(folder, inputs)
                report.vanished = vanished
                finish(report)
                return report
        finally:
            if not inputs.are_listed and not folder.differences(self.settings):
                folder.remove()  # the run has not started

    def _complete(self, folder: FeatureFolder, inputs: Inputs) -> Report:
        """Compute the missing rows, and mark the folder complete; raise `InputError` if some are unreachable."""
        started = time.perf_counter()
        if inputs.are_listed:
            inputs.renew(self.sources.units)
        else:
            inputs.write(self.sources.units())
        kept = folder.resume(retry_errors=self.mode == "retry-errors")
        report = Report(kept=sum(each.rows - each.repeated for each in kept.values()))
        if report.kept:
            log.info("resuming after %s", counted(report.kept, "row"))
        advance = counter(self.progress, "images", count_rows(inputs, kept), report.kept)
        self.fill(folder, enumerate(inputs), kept, self.options, report, advance)
        report.seconds = time.perf_counter() - started
        report.passed_over.merge(self.sources.passed_over)
        failures = failures_in(folder)
        report.rows = failures.rows - report.kept  # includes the rows of lost workers, which reported nothing
        report.unreachable = failures.unreachable
        write_report(folder, self.settings, report, failures)
        if report.unreachable:
            raise InputError(
                f"{counted(report.unreachable, 'image or shard', 'images or shards')} could not be reached, such as "
                f"{report.outage}; repeat the command to try again, or record them as failed (--give-up 0)"
            )
        report.failed, report.failed_before = failures.count, failures.count - report.failed
        folder.mark_complete(self.settings, failures.rows, failures.count)
        return report


def _finished(mark: Mapping[str, Any]) -> Report:
    """Return the report of a run that finds a complete output with this mark."""
    return Report(kept=mark["rows"], failed=mark["failed"], failed_before=mark["failed"])


@contextmanager
def _noting(folder: FeatureFolder) -> Iterator[None]:
    """Add a note with the number of kept rows to an error that ends the block, unless it has a note.

    After damage of the run's own files, which a repeated run would meet again, the note advises nothing.
    """
    try:
        yield
    except BaseException as error:
        with suppress(OutputError, InputError):
            if not hasattr(error, "__notes__") and (rows := folder.rows()):
                kept = f"{counted(rows, 'row')} {'is' if rows == 1 else 'are'} kept"
                again = "" if isinstance(error, DamagedError) else "; repeat the command to resume"
                error.add_note(f"{kept} in {folder.path}{again}")
        raise


def _join(
    folder: FeatureFolder, file: Path, schema: FeatureSchema, settings: Mapping[str, Any], report: Report
) -> None:
    """Write all parts into one file, a row group at a time. The caller holds the folder's lock."""
    remove_temporaries(file, older_than=0)  # they are from killed runs, because this one holds the lock
    rows = report.kept + report.rows
    mark = {_HASH: settings_hash(settings), _ROWS: str(rows), _FAILED: str(report.failed)}
    arrow = schema.schema()
    arrow = arrow.with_metadata({**(arrow.metadata or {}), **mark})
    try:
        with replacing(file) as temporary, temporary.open("wb") as out, parquet_writer(out, arrow) as writer:
            for path in folder.parts():
                for table in read_groups(path, arrow):
                    writer.write_table(table, row_group_size=max(1, len(table)))
    except OutputError as error:
        error.add_note(f"all {counted(rows, 'row')} are safe in {folder.path}; repeat the command to join them")
        raise


def _mark_of(file: Path) -> dict[bytes, str]:
    """Return the mark that `_join` wrote into the metadata of a file; empty for other files."""
    try:
        metadata = pq.read_schema(file).metadata or {}
        mark = {key: metadata[key].decode() for key in (_HASH, _ROWS, _FAILED)}
        return mark if mark[_ROWS].isdecimal() and mark[_FAILED].isdecimal() else {}
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}


def _swap(new: FeatureFolder, old: FeatureFolder) -> None:
    """Replace a folder with a complete new one, and keep the user's own files in it.

    If the run is killed at any moment, one of the two folders is complete, and the next run finishes the swap.
    """
    if old.path.exists():
        with locked(old.path), writing(old.path):
            for name in old.others():
                (old.path / name).replace(new.path / name)
        with writing(old.path):
            old.path.replace(temporary_path(old.path))
    with writing(old.path):
        new.path.replace(old.path)
    for path in temporaries(old.path, older_than=0):  # those of killed runs, too
        if path.is_dir() and not FeatureFolder(path).others():
            FeatureFolder(path).remove()
