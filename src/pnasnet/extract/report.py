"""How an extraction went, as JSON and as an HTML page: counts, rates, the bottleneck, failures, some pictures."""

import base64
import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from .._version import __version__
from ..errors import OutputError
from ..reports.pages import render
from .parts import FeatureFolder
from .run import Report

REPORT_JSON, REPORT_HTML = "_report.json", "_report.html"
_BESIDE = {REPORT_JSON: ".report.json", REPORT_HTML: ".report.html"}
_ENGINE = b"pnasnet.engine"
_KINDS, _EXAMPLES = 100, 5


class Failures:
    """Failed rows, grouped by what their errors say beside the picture's name and its numbers."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[dict[str, str]]] = {}

    def add(self, path: str, error: str) -> None:
        """Count a row. What is kept is bounded, however many kinds there are."""
        self.count += 1
        kind = _kind(path, error)
        if kind not in self._counts and len(self._counts) >= _KINDS:
            kind = "other"
        self._counts[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append({"path": path, "error": error})

    def groups(self) -> list[dict[str, Any]]:
        """Return the kinds, the most frequent first, each with its count and a few examples."""
        return [
            {"kind": kind, "count": count, "examples": self._examples[kind]}
            for kind, count in self._counts.most_common()
        ]


def _kind(path: str, error: str) -> str:
    return re.sub(r"\d[\d,]*", "N", error.removeprefix(f"{path}: "))


def failures_in(folder: FeatureFolder) -> Failures:
    """Return the failures of all rows, read a row group at a time."""
    failures = Failures()
    for path in folder.parts():
        with pq.ParquetFile(path) as part:
            for batch in part.iter_batches(columns=["path", "error"]):
                for name, error in zip(batch["path"].to_pylist(), batch["error"].to_pylist(), strict=True):
                    if error is not None:
                        failures.add(name, error)
    return failures


def write_report(folder: FeatureFolder, settings: dict[str, Any], report: Report, failures: Failures) -> None:
    """Write `_report.json` and `_report.html` into the folder. Raises `OutputError` where they cannot be written."""
    said = _values(settings, report, failures, _engines(folder))
    folder.write_json(REPORT_JSON, said)
    folder.write_text(REPORT_HTML, _page(said, report))


def move_report(folder: FeatureFolder, file: Path) -> None:
    """Put the report beside the file that a folder's parts were joined into. Raises `OutputError` where it cannot."""
    for name, suffix in _BESIDE.items():
        beside = file.with_suffix(suffix)
        try:
            with suppress(FileNotFoundError):
                (folder.path / name).replace(beside)
        except OSError as error:
            raise OutputError(f"cannot write {beside}: {error.strerror or error}") from error


def _engines(folder: FeatureFolder) -> list[str]:
    """Return what the networks ran on, devices included, in this run and those before it, on whichever machines."""
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
    whole = sum(alone.values())  # of all workers, not what passed meanwhile
    return {
        "pnasnet_version": __version__,
        "settings": settings,
        "engines": engines,
        "rows": report.kept + report.rows,
        "failed": failures.count,
        "this_run": {
            "rows": report.rows,
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
    """Return how many images a second each stage gets through: a decoder's thread, and the others of one worker."""
    stages = report.stages
    took = {
        "decoding": (report.rows, stages.decoding),
        "engine": (report.rows - report.failed - stages.copies, stages.engine),
        "writing": (report.rows, stages.writing),
    }
    return {name: images / seconds if seconds else None for name, (images, seconds) in took.items()}


def _page(said: dict[str, Any], report: Report) -> str:
    pictures = [(name, base64.b64encode(jpeg).decode()) for name, jpeg in report.sample.thumbnails if jpeg]
    return render("extract_report.html", {**said, "pictures": pictures, "stages": report.stages})
