"""The cache folder, and the spellings of a path."""

from pathlib import Path

import pytest

from pnasnet.support.paths import cache_dir, spellings
from pnasnet.support.text import utf8


def test_spellings_of_a_path() -> None:
    assert spellings("photos//a.jpg") == ["photos//a.jpg", "photos/a.jpg", "./photos/a.jpg"]
    assert spellings("/data//a.jpg") == ["/data//a.jpg", "/data/a.jpg"]
    assert spellings("https://host//a.jpg") == ["https://host//a.jpg"]
    assert "b" not in spellings("a/../b")  # `a` may be a link


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PNASNET_CACHE", "~/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("PNASNET_CACHE")
    assert cache_dir() == Path("/xdg/pnasnet")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_dir() == tmp_path / ".cache" / "pnasnet"


def test_paths_that_are_not_utf8_become_text() -> None:
    assert utf8("a\udcff\u00e9") == "a\\xff\u00e9"
