"""`pnasnet explore`: the page and embedding-atlas in a real browser."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chromium import attribute, dump_page
from cli_runs import PHOTOS, error_of, run
from pnasnet.vectors import explore

from vectors_data import clustered, write_features


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Make twelve rows of the four example photos, each three times."""
    folder = tmp_path / "photos"
    shutil.copytree(PHOTOS, folder)
    names = [str(path) for path in sorted(folder.glob("*.jpg"))] * 3
    return write_features(tmp_path / "features.parquet", clustered(12, 100), names)


def test_page_in_a_browser(features: Path, tmp_path: Path) -> None:
    """It shows the pictures, and asks nothing of the network."""
    (tmp_path / "photos/rocket.jpg").unlink()
    page = tmp_path / "map.html"
    result = run("explore", features, "--html", page, "--projection", "pca")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{page}: 12 pictures\n"
    assert result.stderr == "projection pca\n"
    dom = dump_page(page.as_uri(), tmp_path / "profile")
    assert 3 <= int(attribute(dom, "data-drawn")) <= 9
    assert "12 pictures" in dom
    assert "3 pictures could not be opened." in dom


def test_the_map_is_drawn(features: Path, tmp_path: Path) -> None:
    from PIL import Image

    page, picture = tmp_path / "map.html", tmp_path / "map.png"
    run("explore", features, "--html", page, "--projection", "pca")
    dump_page(page.as_uri(), tmp_path / "profile", screenshot=picture)
    with Image.open(picture) as shot:
        colours = shot.convert("RGB").quantize(64).getcolors()
    assert colours is not None
    assert len(colours) > 40  # of photos; text and dots alone have few


def test_a_sample_is_said(features: Path, tmp_path: Path) -> None:
    result = run("explore", features, "--html", tmp_path / "m.html", "--points", "5", "--projection", "pca")
    assert result.stderr.splitlines()[0] == "5 of 12 pictures are taken, spread evenly"
    assert result.stdout.endswith("m.html: 5 pictures\n")


def test_table_for_another_place(features: Path, tmp_path: Path) -> None:
    result = run(
        "explore", features, "--table", tmp_path / "t.parquet", "--projection", "pca", "-q", "--thumbnail", "32"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    table = pq.read_table(tmp_path / "t.parquet")
    assert len(table) == 12
    assert table["image"].null_count == 0


@contextmanager
def served(features: Path, folder: Path) -> Iterator[str]:
    """Run the command until the block ends; yields the explorer's address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pnasnet", "explore", str(features), "--port", str(port), "--projection", "pca"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"http://localhost:{port}/data/metadata.json", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://localhost:{port}/"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


@pytest.mark.slow
def test_embedding_atlas_in_a_browser(features: Path, tmp_path: Path) -> None:
    """Its table shows the pictures, and it counts the points. (Its scatter plot needs WebGPU.)"""
    pytest.importorskip("embedding_atlas", reason="the extra explore is not installed")
    with served(features, tmp_path) as address:
        dom = dump_page(address, tmp_path / "profile", wait_ms=15_000)
    assert len(re.findall(r'<img[^>]*src="(?:data:image/jpeg|blob:)', dom)) >= 4
    assert re.search(r"\b12\b[^<]{0,40}(?:points|rows|items)", re.sub(r"<[^>]*>", " ", dom))


def test_without_the_explorer(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = "the explorer (without --html or --table) needs embedding-atlas, which is not installed: pip install"
    assert error_of(run("explore", features)).startswith(message)


def test_errors_are_one_line(features: Path, tmp_path: Path) -> None:
    page = tmp_path / "m.html"
    assert "does not exist" in error_of(run("explore", tmp_path / "none", "--html", page))
    assert "unknown projection 'tsne'" in error_of(run("explore", features, "--html", page, "--projection", "tsne"))
    assert "at least 1" in error_of(run("explore", features, "--html", page, "--points", "0"))
    assert "cannot write" in error_of(run("explore", features, "--html", tmp_path / "no/m.html", "--projection", "pca"))
    assert not page.exists()


def test_a_page_never_takes_more_than_it_can(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.vectors.PAGE_POINTS", 6)
    for asked in ([], ["--points", "9"]):
        result = run("explore", features, "--html", tmp_path / "m.html", "--projection", "pca", *asked)
        assert result.stderr.splitlines()[0] == "6 of 12 pictures are taken, spread evenly"
    assert explore.PAGE_POINTS == 50_000
