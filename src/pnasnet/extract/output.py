"""Where the rows end: a folder of parts that stays, or one file that a folder of parts is joined into."""

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..errors import InputError, OutputError
from ..support.files import check_target
from .added import add_listed
from .columns import Column
from .options import DEFAULTS, ExtractOptions
from .parts import FeatureFolder
from .report import failures_in, move_report, write_report
from .run import Listener, Report, Sources, extract_to_folder, mark_complete, settings_of
from .schema import VectorType
from .sink import ParquetSink

Extract = Callable[..., Report]
"""What fills a folder; called as `extract_to_folder` is."""

FILE_SUFFIX = ".parquet"


def extract_to(
    output: str | os.PathLike[str],
    sources: Sources,
    columns: Sequence[Column],
    options: ExtractOptions = DEFAULTS,
    *,
    extract: Extract = extract_to_folder,
    resume: bool = False,
    overwrite: bool = False,
    add: bool = False,
    listener: Listener | None = None,
) -> Report:
    """Write the vectors of all pictures, a row for each, in their order.

    Args:
        output: a folder, which gets parts, a mark once it is complete, and a report; or a file whose name ends in
            `.parquet`, beside which the folder `NAME.partial` lies until its parts are joined, and its report stays, as
            `NAME.report.json` and `NAME.report.html`.
        sources: the pictures.
        columns: which vectors.
        options: how they are made.
        extract: what does the work: `extract_to_folder`, or another one that keeps its promises.
        resume: whether to do no more than to go on with what another run has left.
        overwrite: whether to begin anew where something is there, but what another run that overwrites has left with
            the same settings. Without, a run goes on with what any other one with the same settings has left, and a
            complete folder is left as it is.
        add: whether to list the sources anew, and to go on with what a folder does not have, too: its rows and parts
            stay, and rows of what is new follow, in order. Not for a file.
        listener: hears how it goes. An exception that it raises ends the run; what is done is kept.

    Raises:
        OutputError: it cannot be written, exists already, is being written by another run, was begun with other
            settings, there is nothing to resume, or it is a file to add to. InputError: a source is not there, or
            cannot be reached any more.
    """
    path = Path(output)
    file = path if path.suffix == FILE_SUFFIX else None
    settings = settings_of(sources, columns)
    folder = FeatureFolder(file.with_suffix(".partial") if file else path)
    if file and not overwrite and file.exists() and folder.is_of(settings):
        return _tidy(folder, file)
    if file:
        _check_file(file, overwrite, add)
    if resume and not folder.has_inputs:
        raise OutputError(f"nothing to resume: no run has begun to write to {folder.path}; leave out --resume")
    with folder.locked():
        if overwrite and not folder.was_overwritten(settings):
            folder.begin_to_overwrite(settings, sources.units)
        folder.check_settings(settings)
        vanished = add_listed(folder, sources.units()) if add and folder.has_inputs else 0
        report = _fill(folder, settings, sources, columns, options, extract, listener)
        report.vanished = vanished
        if file:
            _join(folder, file, VectorType.of(columns))
        else:
            folder.end_overwriting()
    if file:
        _tidy(folder, file)
    return report


def _tidy(folder: FeatureFolder, file: Path) -> Report:
    """Keep the report beside the file that the parts were joined into, and remove these; say how many rows it has."""
    mark = folder.mark
    with folder.locked():
        move_report(folder, file)
    # Under another name at once, so that a run that is killed meanwhile leaves no folder that lacks some parts.
    gone = folder.path.with_name(f".{secrets.token_hex(4)}.{folder.path.name}")
    folder.path.replace(gone)
    for path in gone.parent.glob(f".*.{folder.path.name}"):  # such a run's, too
        shutil.rmtree(path, ignore_errors=True)
    return Report(kept=mark["rows"], failed=mark["failed"], failed_before=mark["failed"])


def _fill(
    folder: FeatureFolder,
    settings: dict[str, Any],
    sources: Sources,
    columns: Sequence[Column],
    options: ExtractOptions,
    extract: Extract,
    listener: Listener | None,
) -> Report:
    if mark := folder.mark:
        return Report(kept=mark["rows"], failed=mark["failed"], failed_before=mark["failed"])
    try:
        report = extract(sources, columns, folder, options, listener=listener)
        _check_reached(report)
    except BaseException as error:
        _say_what_is_kept(folder, error)
        raise
    failures, rows = failures_in(folder), folder.rows()
    report.rows = rows - report.kept  # of a worker that was lost on its way nothing else tells
    write_report(folder, settings, report, failures)
    report.failed, report.failed_before = failures.count, failures.count - report.failed
    mark_complete(folder, settings, rows, failures.count)
    return report


def _check_reached(report: Report) -> None:
    if report.unreached:
        raise InputError(
            f"{len(report.unreached):,} of the shards could not be reached, the last one because of "
            f"{report.unreached[-1]}; the same command tries them again, and --give-up 0 takes them for failures"
        )


def _say_what_is_kept(folder: FeatureFolder, error: BaseException) -> None:
    """Add a note to an error that ended a run; remove a folder in which nothing was begun."""
    if rows := folder.rows():
        error.add_note(f"{rows:,} rows are kept in {folder.path}; the same command goes on from there")
    elif not folder.has_inputs:
        folder.discard()


def _check_file(file: Path, overwrite: bool, add: bool) -> None:
    if add:
        raise OutputError(
            f"cannot add to {file}: it is one file, joined from parts; name a folder, which takes more parts"
        )
    if file.is_dir():
        raise OutputError(f"cannot write {file}: it is a folder; name a file, or a folder without {FILE_SUFFIX}")
    check_target(file)
    if file.exists() and not overwrite:
        raise OutputError(f"{file} exists: choose another name, or overwrite it (--overwrite, overwrite=True)")


def _join(folder: FeatureFolder, file: Path, vectors: VectorType) -> None:
    """Write all parts into one file; a row group at a time."""
    with ParquetSink(file, vectors, overwrite=True) as sink:
        for path in folder.parts():
            with pq.ParquetFile(path) as part:
                for group in range(part.num_row_groups):
                    sink.write_table(part.read_row_group(group))
