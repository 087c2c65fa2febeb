"""A device with too little memory for a batch."""

from pathlib import Path

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.engines import FakeEngine
from pnasnet.engines.base import Floats
from pnasnet.errors import OutOfMemoryError
from pnasnet.extract import ExtractOptions, columns_for
from pnasnet.extract.embed import extract_columns
from pnasnet.extract.pipeline import Stages
from pnasnet.pictures import Picture

PHOTOS = sorted((Path(__file__).parents[1] / "photos").glob("*.jpg"))
OPTIONS = ExtractOptions(batch_size=7, decoders=2)


def vectors(module: Module, stages: Stages) -> Floats:
    pictures = [Picture(str(i), PHOTOS[i % len(PHOTOS)].read_bytes) for i in range(14)]
    columns = columns_for([module], ["global_pool"], OPTIONS)
    return np.concatenate([batch.vectors for batch in extract_columns(pictures, columns, OPTIONS, stages)])


def test_batches_are_halved_and_the_report_counts_how_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, stages, original = vectors(Module("pnasnet_tiny", engine="fake"), Stages()), Stages(), FakeEngine._run

    def small(engine: FakeEngine, images: Floats) -> dict[str, Floats]:
        if len(images) > 3:
            raise OutOfMemoryError("not enough memory on the device")
        return original(engine, images)

    monkeypatch.setattr(FakeEngine, "_run", small)
    np.testing.assert_array_equal(vectors(Module("pnasnet_tiny", engine="fake"), stages), whole)
    assert stages.memory_splits == 1  # the second batch is not tried whole
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["the device has too little memory for batches of 7 images: running 3 at a time"]
