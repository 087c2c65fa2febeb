"""Fixtures of the tests of downloads."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pnasnet.support import http

from tests.helpers.weights_files import CHECKPOINTS
from tests.helpers.weights_server import (
    CONTENT,
    FileServer,
    serve,
    tar,
)

CHECKPOINT = sorted((CHECKPOINTS / "tiny_slim").glob("model.ckpt*"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache's folder of weights; attempts follow each other at once."""
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PNASNET_OFFLINE", raising=False)
    monkeypatch.setattr(http, "WAITS", (0.0, 0.0))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as files:
        files.files |= {"/net.pth": CONTENT, "/net.tar.gz": tar(*CHECKPOINT)}
        yield files
