"""Time and memory of an index of vectors and of its answers, and whether the answers are exact.

Command:  python benchmarks/similar.py [--vectors 200000] [--length 4320] [--folder DIR]
Method:   vectors like a network's (not negative, in clusters of about 50, with 200 directions and noise in all others)
          are written to parts of 20,000. `pnasnet similar --index`, then queries with an indexed image, run in
          processes of their own: warm, and after the files were dropped from the page cache. In this process, 20
          queries are answered by the open index, and by reading all vectors. Then the approximate index is built and
          answers the same queries. Finally, `pnasnet duplicates` compares all pairs.
Result:   see docs/benchmarks.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pnasnet.vectors import Features, Nearest, VectorIndex, open_approximate, open_features, open_index, search_exactly
from pnasnet.vectors.approximate import approximate_folder
from pnasnet.vectors.index import index_folder

from common import machine

_PART, _GROUP, _DIRECTIONS = 20_000, 480, 200
_METADATA = {"pnasnet.model": "pnasnet_large", "pnasnet.weights": "made for a benchmark"}


def make_features(folder: Path, count: int, length: int) -> None:
    """Write `count` vectors to parts."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((_DIRECTIONS, length), np.float32) / np.float32(_DIRECTIONS**0.5)
    centres = rng.standard_normal((max(count // 50, 1), _DIRECTIONS), np.float32)
    lists = pa.list_(pa.float32(), length)
    schema = pa.schema([("path", pa.string()), ("embedding", lists), ("status", pa.string())], _METADATA)
    options = {"compression": "zstd", "use_dictionary": False, "use_byte_stream_split": ["embedding.list.element"]}
    for part, first in enumerate(range(0, count, _PART)):
        with pq.ParquetWriter(folder / f"part-{part:05}.parquet", schema, **options) as writer:
            for start in range(first, min(first + _PART, count), _GROUP):
                rows = range(start, min(start + _GROUP, first + _PART, count))
                vectors = _draw(rng, centres, directions, len(rows))
                values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), length)
                columns = [[f"{row:08}.jpg" for row in rows], values, ["ok"] * len(rows)]
                writer.write_table(pa.table(columns, schema))


def _draw(
    rng: np.random.Generator, centres: NDArray[np.float32], directions: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    places = centres[rng.integers(len(centres), size=count)]
    places = places + np.float32(0.5) * rng.standard_normal(places.shape, np.float32)
    vectors = places @ directions - np.float32(0.5)
    vectors += np.float32(0.5) * rng.standard_normal(vectors.shape, np.float32)
    # Features are means over many positions, which are hardly ever zero.
    result: NDArray[np.float32] = np.maximum(vectors, np.float32(0.05) * rng.random(vectors.shape, np.float32))
    return result


def run(*arguments: object) -> tuple[float, float]:
    """Run a `pnasnet` command; return its seconds and its peak memory in MB."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pnasnet", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return seconds, usage.ru_maxrss / 1024


def forget(*folders: Path) -> None:
    """Drop the files of folders from the page cache."""
    os.sync()
    for path in _files(*folders):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.iterdir() if path.is_file())


def size_of(folder: Path) -> float:
    """Return the gigabytes of a folder's files."""
    return sum(path.stat().st_size for path in _files(folder)) / 1e9


def ask(features: Features, index: VectorIndex) -> None:
    """Print the time of answers in this process, the number of vectors that they read, and whether they are exact."""
    rng = np.random.default_rng(1)
    count, vectors_read = index.count, 0
    read = index.vectors

    def counting(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        nonlocal vectors_read
        vectors_read += len(positions)
        return read(positions)

    index.vectors = counting  # type: ignore[method-assign]
    ids = index.ids(rng.choice(count, 20, replace=False))
    queries = features.vectors(ids)
    seconds, answers, numbers = [], [], []
    for query in queries:
        start, vectors_read = time.perf_counter(), 0
        answers += index.search(query[None], 10)
        seconds.append(time.perf_counter() - start)
        numbers.append(vectors_read)
    print(
        f"open index     {statistics.median(seconds):.3f} s an answer (median of 20; longest {max(seconds):.3f} s), "
        f"{statistics.median(numbers):,.0f} vectors read (at most {max(numbers):,})"
    )
    start = time.perf_counter()
    exact = search_exactly(features, queries, 10)
    print(f"reading all    {time.perf_counter() - start:.1f} s for the 20 answers at once")
    _ask_approximately(features, queries, exact)
    both = list(zip(answers, exact, strict=True))
    found = sum(len(set(one.ids) & set(other.ids)) for one, other in both)
    difference = max(float(np.abs(one.similarities - other.similarities).max()) for one, other in both)
    print(f"recall         {found} of {10 * len(both)}; similarities differ by up to {difference:.1e}")
    print(f"proved         {sum(one.proved for one in answers)} of {len(both)} answers")


def _ask_approximately(features: Features, queries: NDArray[np.float32], exact: list[Nearest]) -> None:
    folder = approximate_folder(features.path)
    seconds, memory = run("similar", "--index", "--approximate", features.path)
    print(f"approximate    built in {seconds:.1f} s, {memory:.0f} MB, index {size_of(folder):.2f} GB", flush=True)
    took, hits = [], 0
    with open_approximate(features) as index:
        for query, expected in zip(queries, exact, strict=True):
            start = time.perf_counter()
            (found,) = index.search(query[None], 10)
            took.append(time.perf_counter() - start)
            hits += len(set(found.ids) & set(expected.ids))
    print(
        f"               {statistics.median(took):.3f} s an answer (median of 20), recall {hits} of {10 * len(exact)}"
    )


def main() -> None:
    """Create the vectors, run everything, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--length", type=int, default=4320)
    parser.add_argument("--folder", help="folder for temporary files")
    options = parser.parse_args()
    print(f"{options.vectors:,} vectors of {options.length} numbers; {machine()}")
    with TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place) / "features"
        folder.mkdir()
        start = time.perf_counter()
        make_features(folder, options.vectors, options.length)
        print(f"features       {size_of(folder):.2f} GB, made in {time.perf_counter() - start:.0f} s")
        seconds, memory = run("similar", "--index", folder)
        print(
            f"build          {seconds:.1f} s, {memory:.0f} MB, index {size_of(index_folder(folder)):.2f} GB", flush=True
        )
        question = (f"{options.vectors // 3:08}.jpg", folder)
        for state in ("warm", "cold"):
            if state == "cold":
                forget(folder, index_folder(folder))
            seconds, memory = run("similar", *question)
            print(f"command, {state}  {seconds:.2f} s, {memory:.0f} MB", flush=True)
        features = open_features(folder)
        index = open_index(features)
        assert index is not None
        with index:
            ask(features, index)
        seconds, memory = run("duplicates", folder)
        print(f"duplicates     {seconds:.1f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
