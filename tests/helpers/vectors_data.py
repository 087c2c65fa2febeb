"""Files of features for tests, as `pnasnet embed` writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

METADATA = {
    "version": "0.1.0",
    "model": "pnasnet_tiny",
    "weights": "pnasnet_tiny",
    "weights_sha256": "abc",
    "endpoint": "global_pool",
    "preset": "hub",
    "image_size": "32x32",
    "exif": "false",
    "precision": "float32",
}


def write_features(
    path: Path,
    vectors: NDArray[np.float32],
    paths: Sequence[str] | None = None,
    *,
    failed: Sequence[int] = (),
    kind: pa.DataType | None = None,
    columns: Sequence[str] = ("embedding",),
    group: int = 7,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write vectors [N, F] with the pictures' paths; rows in `failed` have none. Returns the path."""
    count, length = vectors.shape
    lost = np.isin(np.arange(count), failed)
    values = pa.array(vectors.astype(np.float16 if kind == pa.float16() else np.float32).reshape(-1))
    lists = pa.FixedSizeListArray.from_arrays(values, length, mask=pa.array(lost))
    data: dict[str, object] = {
        "path": list(paths) if paths is not None else [f"{path.stem}/{i}.jpg" for i in range(count)]
    }
    data |= dict.fromkeys(columns, lists)
    data["width"] = pa.array([None if bad else 640 for bad in lost], pa.int32())
    data["height"] = pa.array([None if bad else 480 for bad in lost], pa.int32())
    data["status"] = ["error" if bad else "ok" for bad in lost]
    data["error"] = pa.array(["damaged" if bad else None for bad in lost], pa.string())
    stated: Mapping[str, str] = {f"pnasnet.{key}": value for key, value in (METADATA | dict(metadata)).items()}
    pq.write_table(pa.table(data).replace_schema_metadata(stated), path, row_group_size=group)
    return path


def clustered(count: int, length: int = 40, seed: int = 0, clusters: int = 8) -> NDArray[np.float32]:
    """Return vectors that lie in clusters, none negative, as features of pictures are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).random((clusters, length), np.float32) ** 2
    noise = rng.random((count, length), np.float32)
    vectors: NDArray[np.float32] = centres[rng.integers(clusters, size=count)] + 0.3 * noise
    return vectors


def cosines(queries: NDArray[np.floating[Any]], vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return all similarities, in double precision."""
    a, b = queries.astype(np.float64), vectors.astype(np.float64)
    result: NDArray[np.float64] = a @ b.T / (np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None])
    return result
