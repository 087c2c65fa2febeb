"""The report of an extraction, as JSON and HTML: counts, rates, the bottleneck, failures and sample images."""

import base64
import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from .._version import __version__
from ..reports.pages import render
from ..support.files import write_text, writing
from .folder import REPORTS, FeatureFolder
from .part import UNREACHABLE, reading_part
from .run import Report

REPORT_JSON, REPORT_HTML = REPORTS
_BESIDE = {REPORT_JSON: ".report.json", REPORT_HTML: ".report.html"}
_ENGINE = b"pnasnet.engine"
_KINDS, _EXAMPLES = 100, 5


class Failures:
    """Failed rows, grouped by their errors without image names and numbers.

    Attributes:
        rows: number of all rows, if read from a folder.
        count: rows with the status `error`.
        unreachable: rows with the status `unreachable`; they are in no group.
    """

    def __init__(self) -> None:
        self.rows = self.count = self.unreachable = 0
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[dict[str, str]]] = {}

    def add(self, path: str, error: str) -> None:
        """Count a row. Memory is bounded by a limit of groups."""
        self.count += 1
        kind = _kind(path, error)
        if kind not in self._counts and len(self._counts) >= _KINDS:
            kind = "other"
        self._counts[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append({"path": path, "error": error})

    def groups(self) -> list[dict[str, Any]]:
        """Return the groups, largest first, each with its kind, its count and a few examples."""
        return [
            {"kind": kind, "count": count, "examples": self._examples[kind]}
            for kind, count in self._counts.most_common()
        ]


def _kind(path: str, error: str) -> str:
    return re.sub(r"\d[\d,]*", "N", error.removeprefix(f"{path}: "))


def failures_in(folder: FeatureFolder) -> Failures:
    """Return the failures of all rows, read a row group at a time. Raises `OutputError` for a damaged part."""
    failures = Failures()
    for path in folder.parts():
        with reading_part(path), pq.ParquetFile(path) as part:
            for batch in part.iter_batches(columns=["path", "status", "error"]):
                failures.rows += len(batch)
                for row in batch.filter(pc.is_valid(batch["error"])).to_pylist():
                    if row["status"] == UNREACHABLE:
                        failures.unreachable += 1
                    else:
                        failures.add(row["path"] or "", row["error"])
    return failures


def write_report(folder: FeatureFolder, settings: dict[str, Any], report: Report, failures: Failures) -> None:
    """Write `_report.json` and `_report.html` into the folder. Raises `OutputError`."""
    values = _values(settings, report, failures, _engines(folder))
    folder.write_json(REPORT_JSON, values)
    write_text(folder.path / REPORT_HTML, _page(values, report))


def move_report(folder: FeatureFolder, file: Path) -> None:
    """Move a folder's report beside the file that its parts were joined into. Raises `OutputError`."""
    for name, suffix in _BESIDE.items():
        beside = file.with_suffix(suffix)
        with writing(beside), suppress(FileNotFoundError):
            (folder.path / name).replace(beside)


def _engines(folder: FeatureFolder) -> list[str]:
    """Return the engines and devices of this run and earlier ones, on all machines."""
    found: dict[str, None] = {}
    for path in folder.parts():
        schema = pq.read_schema(path)
        for metadata in (schema.metadata, *(field.metadata for field in schema)):
            if metadata and _ENGINE in metadata:
                found[metadata[_ENGINE].decode()] = None
    return list(found)


def _values(settings: dict[str, Any], report: Report, failures: Failures, engines: list[str]) -> dict[str, Any]:
    stages = report.stages
    alone = {"decoding": stages.waiting, "engine": stages.engine, "writing": stages.writing}
    whole = sum(alone.values())  # summed over workers, so it may exceed the duration of the run
    return {
        "pnasnet_version": __version__,
        "settings": settings,
        "engines": engines,
        "rows": report.kept + report.rows,
        "failed": failures.count,
        "unreachable": failures.unreachable,
        "this_run": {
            "rows": report.rows,
            "unturned": report.unturned,
            "passed_over": str(report.passed_over),
            "seconds": report.seconds,
            "rows_per_second": report.rows / report.seconds if report.seconds else None,
            "stages": asdict(stages),
            "images_per_second": _rates(report),
            "shares": {name: seconds / whole if whole else 0 for name, seconds in alone.items()},
            "bottleneck": stages.bottleneck,
        },
        "failures": failures.groups(),
    }


def _rates(report: Report) -> dict[str, float | None]:
    """Return the images per second of each stage: of one decoding thread, and of one worker for the others."""
    stages = report.stages
    took = {
        "decoding": (report.rows, stages.decoding),
        "engine": (report.rows - report.failed - stages.copies, stages.engine),
        "writing": (report.rows, stages.writing),
    }
    return {name: images / seconds if seconds else None for name, (images, seconds) in took.items()}


def _page(values: dict[str, Any], report: Report) -> str:
    pictures = [(name, base64.b64encode(jpeg).decode()) for name, jpeg in report.sample.thumbnails if jpeg]
    return render("extract_report.html", {**values, "pictures": pictures, "stages": report.stages})
