"""Time, memory, disk space and recall of the exact and the approximate index, for a million vectors.

Command:  python benchmarks/approximate.py FEATURES... [--vectors 1000000] [--queries 500] [--folder DIR]
Method:   FEATURES are Parquet files of `pnasnet embed`, of one model. 500 random vectors are removed from the data and
          used as queries. Mixtures are added to the other vectors up to the wanted number: a vector, and 10 to 50 % of
          one of its 10 nearest. `pnasnet similar --index` builds each index in a process of its own. Recall is the
          fraction of the 10 exact nearest vectors, found by reading all vectors, in an approximate answer of 10; it is
          also measured for other numbers of lists than the default.
Result:   see docs/benchmarks.md and docs/similar.md.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pnasnet.vectors import Nearest, open_approximate, open_features, open_index, search_exactly
from pnasnet.vectors.approximate import approximate_folder
from pnasnet.vectors.index import index_folder
from similar import run, size_of

from common import machine

Vectors = NDArray[np.float32]
_PART, _GROUP, _K, _NEIGHBOURS = 20_000, 500, 10, 10
_PROBES = (8, 16, 32, 64, 128, 256)
_EXACTLY = 50
"""Queries that the exact index answers, slower than the approximate one."""


def read(paths: Sequence[Path]) -> tuple[Vectors, dict[str, str]]:
    """Return all vectors, and the metadata of the features."""
    opened = [open_features(path) for path in paths]
    blocks = [np.asarray(block.vectors, np.float32) for features in opened for block in features.blocks()]
    return np.concatenate(blocks), {f"pnasnet.{key}": value for key, value in opened[0].metadata.items()}


def neighbours(vectors: Vectors) -> NDArray[np.int64]:
    """Return the rows of the (approximately) 10 nearest vectors of each vector by cosine, [N, 10]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    lists = max(1, int(2 * len(unit) ** 0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(unit.shape[1]), unit.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 5
    index.train(unit[:: max(1, len(unit) // (50 * lists))])
    index.add(unit)
    index.nprobe = 4
    found: NDArray[np.int64] = index.search(unit, _NEIGHBOURS + 1)[1]
    # The first neighbour is the vector itself, or an equal one. Missing neighbours are replaced by the vector.
    return np.where(found[:, 1:] < 0, np.arange(len(unit))[:, None], found[:, 1:])


def groups(vectors: Vectors, count: int) -> Iterator[Vectors]:
    """Yield the vectors and mixtures, `count` in total, in random order, in blocks of `_GROUP`."""
    rng = np.random.default_rng(0)
    near = neighbours(vectors) if count > len(vectors) else np.zeros((len(vectors), _NEIGHBOURS), np.int64)
    order = rng.permutation(count)
    for start in range(0, count, _GROUP):
        chosen = order[start : start + _GROUP]
        first = np.where(chosen < len(vectors), chosen, rng.integers(len(vectors), size=len(chosen)))
        share = np.where(chosen < len(vectors), 0, rng.uniform(0.1, 0.5, len(chosen))).astype(np.float32)[:, None]
        second = near[first, rng.integers(_NEIGHBOURS, size=len(chosen))]
        yield (1 - share) * vectors[first] + share * vectors[second]


def write(folder: Path, made: Iterator[Vectors], metadata: dict[str, str], length: int) -> None:
    """Write vectors to parts like those of `pnasnet embed`."""
    lists = pa.list_(pa.float32(), length)
    schema = pa.schema([("path", pa.string()), ("embedding", lists), ("status", pa.string())], metadata)
    options = {"compression": "zstd", "use_dictionary": False, "use_byte_stream_split": ["embedding.list.element"]}
    row, writer = 0, None
    for vectors in made:
        if row % _PART == 0:
            if writer:
                writer.close()
            writer = pq.ParquetWriter(folder / f"part-{row // _PART:05}.parquet", schema, **options)
        assert writer
        names = [f"{number:08}.jpg" for number in range(row, row + len(vectors))]
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), length)
        writer.write_table(pa.table([names, values, ["ok"] * len(vectors)], schema))
        row += len(vectors)
    if writer:
        writer.close()


def make(paths: Sequence[Path], queries: int, folder: Path, count: int) -> tuple[Vectors, int]:
    """Write `count` vectors to the folder; return the queries, and the number of vectors that are not mixtures."""
    real, metadata = read(paths)
    chosen = np.zeros(len(real), np.bool_)
    chosen[np.random.default_rng(1).choice(len(real), queries, replace=False)] = True
    held, real = real[chosen], real[~chosen]
    write(folder, groups(real, count), metadata, real.shape[1])
    return held, min(count, len(real))


def processor_seconds() -> float:
    """Return the CPU seconds of finished child processes, which hardly depend on other processes."""
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ask(index: Any, queries: Vectors, exact: Sequence[Nearest]) -> str:
    """Return a line with the time of an answer and the recall."""
    took, busy, hits = [], [], 0
    for query, expected in zip(queries, exact, strict=True):
        start, cpu = time.perf_counter(), time.process_time()
        (found,) = index.search(query[None], _K)
        took.append(1e3 * (time.perf_counter() - start))
        busy.append(1e3 * (time.process_time() - cpu))
        hits += len(set(found.ids) & set(expected.ids))
    recall = hits / (_K * len(exact))
    return (
        f"{statistics.median(took):.1f} ms an answer (median; longest {max(took):.0f}; of a processor "
        f"{statistics.median(busy):.1f}), recall {recall:.4f}"
    )


def main() -> None:
    """Create the vectors, build and query both indexes, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="+", type=Path)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--folder", help="folder for temporary files")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place) / "features"
        folder.mkdir()
        start = time.perf_counter()
        # In another process, because the commands' peak memory includes that of this process.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            queries, real = pool.submit(make, options.features, options.queries, folder, options.vectors).result()
        length = queries.shape[1]
        print(f"{options.vectors:,} vectors of {length} numbers, {real:,} of them no mixtures; {machine()}", flush=True)
        print(f"features       {size_of(folder):.2f} GB, made in {time.perf_counter() - start:.0f} s", flush=True)
        for name, more, where in (("exact", (), index_folder), ("approximate", ("--approximate",), approximate_folder)):
            before = processor_seconds()
            seconds, memory = run("similar", "--index", *more, folder)
            busy, size = processor_seconds() - before, size_of(where(folder))
            print(
                f"{name:14} built in {seconds:.0f} s ({busy:.0f} of a processor), {memory:.0f} MB, index {size:.2f} GB",
                flush=True,
            )
            seconds, memory = run("similar", *more, "00000123.jpg", folder)
            print(f"               command {seconds:.2f} s, {memory:.0f} MB", flush=True)
        features = open_features(folder)
        start = time.perf_counter()
        exact = search_exactly(features, queries, _K)
        print(f"reading all    {time.perf_counter() - start:.0f} s for {len(queries)} answers at once", flush=True)
        index = open_index(features)
        assert index is not None
        with index:
            print(f"exact          {ask(index, queries[:_EXACTLY], exact[:_EXACTLY])}", flush=True)
        with open_approximate(features) as approximate:
            print(
                f"approximate    {ask(approximate, queries, exact)}; {approximate.probes} lists, the default, measured "
                f"to find {approximate.recall or 1:.4f}"
            )
            for probes in _PROBES:
                approximate.probes = probes
                print(f"{probes:11} lists  {ask(approximate, queries, exact)}", flush=True)


if __name__ == "__main__":
    main()
