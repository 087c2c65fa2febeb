"""A few kilobytes of Parquet that stand for gigabytes of images: memory stays bounded, and signals are obeyed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.extract import ExtractOptions

from tests.helpers.corpus import MODEL, rows_of
from tests.helpers.waiting import limited, until

psutil = pytest.importorskip("psutil")

ROWS, SIZE = 40, 64 << 20
PROGRAM = """
import sys
import time
from pnasnet.extract import embed, pipeline
from pnasnet.cli import main

decode = embed.load_each

def slowly(*arguments, **options):
    time.sleep(0.2)
    return decode(*arguments, **options)

embed.load_each, pipeline._BATCH_SECONDS = slowly, 0.5
main(sys.argv[1:])
"""
"""Decodes more slowly than it reads, so that images wait in memory."""


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    path = tmp_path / "bomb.parquet"
    content = pa.DictionaryArray.from_arrays(
        pa.array([0] * ROWS, pa.int32()), pa.array([b"\xff\xd8\xff" + bytes(SIZE)])
    )
    pq.write_table(pa.table({"image": content}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    return path


def started(bomb: Path, output: Path) -> subprocess.Popen[str]:
    """Start `pnasnet embed` in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, "embed", str(bomb), "-m", MODEL, "--engine", "fake", "-o", str(output)]
    environment = {**os.environ, "PNASNET_OFFLINE": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True
    )


def test_memory_is_bounded(tmp_path: Path, bomb: Path) -> None:
    most = 0
    with limited(started(bomb, tmp_path / "out")) as process:
        while process.poll() is None:
            try:
                most = max(most, psutil.Process(process.pid).memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.01)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 3, stderr
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["error"] * ROWS
    assert most < 1_200_000_000  # all rows would be 2.7 GB


def test_a_signal_is_obeyed(tmp_path: Path, bomb: Path) -> None:
    with limited(started(bomb, tmp_path / "out")) as process:
        until(lambda: (tmp_path / "out/_inputs.jsonl").exists() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 143, stderr
    kept = len(rows_of(tmp_path / "out"))
    assert kept < 4 * ExtractOptions().batch_size  # without waiting for a batch of failures
    if kept:  # else the signal came before the first row
        assert ("1 row is kept" if kept == 1 else f"{kept} rows are kept") in stderr
