"""The report of an extraction, as JSON and HTML: counts, rates, the bottleneck, failures and sample images."""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from .._version import __version__
from ..reports.pages import data_url, render
from ..support.files import write_text, writing
from ..support.paths import common_folder
from ..support.text import clean
from .folder import REPORTS, FeatureFolder
from .part import UNREACHABLE, reading_part
from .run import Report

REPORT_JSON, REPORT_HTML = REPORTS
_BESIDE = {REPORT_JSON: ".report.json", REPORT_HTML: ".report.html"}
_ENGINE = b"pnasnet.engine"
_KINDS, _REASONS, _EXAMPLES = 100, 10, 5

_VARYING = (
    (re.compile(r"'[^']*'|\"[^\"]*\""), "…"),
    (re.compile(r"(--allow-url-host) \S+"), r"\1 …"),
    (re.compile(r"[^\s():]*(://|/|\\)[^\s():]*"), "…"),  # paths and URLs
    (re.compile(r"0x[0-9a-f]+|(?<!JPEG )(?<!\d)[1-9][\d,]*"), "N"),  # but not in "JPEG 2000" and "0 bytes"
)
"""Patterns of the parts of errors that differ from image to image, and their replacements."""
_IN_PARENTHESES = re.compile(r" ?\(([^()]*)\)")


class Failures:
    """Failed rows, grouped by cause: the error without names, numbers and the decoder's own message.

    Attributes:
        rows: number of all rows, if they were read from a folder.
        count: rows with the status `error`.
        unreachable: rows with the status `unreachable`; they are in no group.
    """

    def __init__(self) -> None:
        self.rows = self.count = self.unreachable = 0
        self._counts: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {}
        self._examples: dict[str, list[dict[str, str]]] = {}

    def add(self, path: str, error: str) -> None:
        """Count a failed row. The number of groups is limited; further causes are counted as `other`."""
        self.count += 1
        kind, reason = _cause(path, error)
        if kind not in self._counts and len(self._counts) >= _KINDS:
            kind = "other"
        self._counts[kind] += 1
        reasons = self._reasons.setdefault(kind, Counter())
        if reason:
            reasons[reason if reason in reasons or len(reasons) < _REASONS else "other"] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append({"path": path, "error": error})

    def groups(self) -> list[dict[str, Any]]:
        """Return the groups, largest first: `kind`, `count`, `reasons` (decoders' messages, counted), `examples`."""
        return [
            {
                "kind": kind,
                "count": count,
                "reasons": dict(self._reasons[kind].most_common()),
                "examples": self._examples[kind],
            }
            for kind, count in self._counts.most_common()
        ]


def _cause(path: str, error: str) -> tuple[str, str]:
    """Return the cause of an error without its varying parts, and the decoder's message, which is in parentheses."""
    for name in (path, clean(path), ascii(path)):  # the spellings of `images.name_of` and of rows
        error = error.removeprefix(f"{name}: ")
    for varying, instead in _VARYING:
        error = varying.sub(instead, error)
    reasons = list[str]()
    while found := _IN_PARENTHESES.search(error):
        reasons.insert(0, found[1])
        error = error[: found.start()] + error[found.end() :]
    return error, "; ".join(filter(None, reasons))


def failures_in(folder: FeatureFolder) -> Failures:
    """Return the failures among a folder's rows. Raises `OutputError` for a damaged part."""
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
    """Move a folder's report beside the file into which its parts were joined. Raises `OutputError`."""
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
    seconds = {"decoding": stages.waiting, "engine": stages.engine, "writing": stages.writing}
    total = sum(seconds.values())  # over all workers, so it may exceed the duration of the run
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
            "unturned_examples": report.unturned_examples,
            "passed_over": str(report.passed_over),
            "seconds": report.seconds,
            "rows_per_second": report.rows / report.seconds if report.seconds else None,
            "stages": asdict(stages),
            "images_per_second": _rates(report),
            "shares": {name: share / total if total else 0 for name, share in seconds.items()},
            "bottleneck": stages.bottleneck,
        },
        "failures": failures.groups(),
    }


def _rates(report: Report) -> dict[str, float | None]:
    """Return the images per second of each stage: of one decoding thread, and of one worker for the others."""
    stages = report.stages
    work = {
        "decoding": (report.rows, stages.decoding),
        "engine": (report.rows - report.failed - stages.copies, stages.engine),
        "writing": (report.rows, stages.writing),
    }
    return {name: images / seconds if seconds else None for name, (images, seconds) in work.items()}


def _page(values: dict[str, Any], report: Report) -> str:
    sample = report.sample.pictures
    folder = common_folder([each.name for each in sample])
    pictures = [(each, each.name[len(folder) :], data_url(each.photo), data_url(each.seen)) for each in sample]
    return render("extract_report.html", {**values, "pictures": pictures, "folder": folder, "stages": report.stages})
