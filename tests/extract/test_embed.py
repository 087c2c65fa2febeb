"""Rows of pictures that are not bytes, and names in errors."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from pnasnet import Module
from pnasnet.extract import ExtractOptions, Sources, columns_for, extract_to
from pnasnet.pictures import PassedOver, Picture, Unit

from tests.helpers.corpus import MODEL, jpeg, rows_of

CONTENTS: tuple[Any, ...] = (Image.new("RGB", (30, 20)), jpeg(1), b"no picture")


@dataclass(frozen=True)
class InMemory(Unit):
    """Pictures of this module."""

    kind = "in memory"
    count: int
    name = "in memory"
    inputs = ("in memory",)

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        for number in range(start, self.count):
            yield Picture(f"given#{number}", partial(CONTENTS.__getitem__, number))


def test_decoded_pictures_have_sizes_and_bytes_have_their_names_in_errors(tmp_path: Path) -> None:
    unit = InMemory(len(CONTENTS))
    options = ExtractOptions(batch_size=2, decoders=1)
    columns = columns_for([Module(MODEL, engine="fake")], ["global_pool"], options)
    report = extract_to(tmp_path / "out", Sources(lambda: [unit], ["given"]), columns, options)
    first, second, damaged = rows_of(tmp_path / "out")
    assert (report.rows, report.failed) == (3, 1)
    assert (first["path"], first["width"], first["height"]) == ("given#0", 30, 20)
    assert (second["path"], second["status"]) == ("given#1", "ok")
    assert str(damaged["error"]).startswith("given#2: ")
    assert "image bytes" not in str(damaged["error"])
