"""The vectors of images that occur more than once: in memory up to a limit, then in the parts."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import OutputError
from pnasnet.extract import contents
from pnasnet.extract.contents import Contents
from pnasnet.extract.folder import CONTENTS, FeatureFolder

from tests.helpers.databases import is_closed


def test_vectors_are_in_memory_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {"embedding": np.ones(8, np.float32), "embedding_other": np.ones(2, np.float32)}
    monkeypatch.setattr(contents, "_RECENT_BYTES", 2 * 40)
    known = Contents(FeatureFolder(tmp_path))
    try:
        known.add(b"a", vectors)
        known.add(b"b", vectors)
        assert known.find(b"a") is known.find(b"b") is vectors
        known.add(b"c", vectors)
        assert known.find(b"a") is None  # nor is it in a part
        assert known.find(b"b") is known.find(b"c") is vectors
        monkeypatch.setattr(contents, "_RECENT_BYTES", 0)
        known.add(b"d", vectors)
        assert [known.find(each) for each in (b"b", b"c")] == [None, None]
        assert known.find(b"d") is vectors  # the newest, whatever its size
    finally:
        known.close()


def test_a_damaged_file_is_closed(tmp_path: Path, connections: list[sqlite3.Connection]) -> None:
    (tmp_path / CONTENTS).write_bytes(b"no data base" * 100)
    with pytest.raises(OutputError, match=rf"cannot use .*{CONTENTS}: file is not a database"):
        Contents(FeatureFolder(tmp_path))
    assert len(connections) == 1
    assert all(map(is_closed, connections))
