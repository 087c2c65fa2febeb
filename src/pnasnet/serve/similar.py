"""Search features on disk for similar images."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import InputError
from ..extract import ExtractOptions, columns_for
from ..module import Module
from ..support.arguments import checked
from ..support.text import clean
from ..vectors import Features, open_features, open_index, search_exactly
from ..vectors.features import check_comparable
from .batcher import Floats
from .models import FEATURES


class Gallery:
    """Features on disk, searched for similar images.

    Attributes:
        model: name of the served model that computed them.
    """

    def __init__(self, features: Features, model: str) -> None:
        self._features, self.model = features, model
        self._index = open_index(features)
        self._thread = ThreadPoolExecutor(1, "similar")

    async def search(self, vectors: Sequence[Floats], top: int) -> list[list[dict[str, Any]]]:
        """Return the `top` nearest images of each vector, each with `path` and `similarity` (cosine), nearest first."""
        if not vectors:
            return []
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._search, np.stack(vectors), top)

    def close(self) -> None:
        """Finish the running search, drop queued ones, and close the files."""
        self._thread.shutdown(cancel_futures=True)
        if self._index is not None:
            self._index.close()

    def _search(self, vectors: Floats, top: int) -> list[list[dict[str, Any]]]:
        if self._index is not None:
            found = self._index.search(vectors, top)
        else:
            found = search_exactly(self._features, vectors, top)
        results = list[list[dict[str, Any]]]()
        for nearest in found:
            entries = self._features.entries(nearest.ids)
            pairs = zip(entries, nearest.similarities, strict=True)
            results.append([{"path": clean(entry.path), "similarity": float(cosine)} for entry, cosine in pairs])
        return results


@checked
def open_gallery(path: str, modules: Mapping[str, Module]) -> Gallery:
    """Open features and find the served model that computed them.

    Raises `InputError` if none of the models did; see `open_features` for other errors.
    """
    features = open_features(path)
    for name, module in modules.items():
        (column,) = columns_for([module], [FEATURES], ExtractOptions())
        metadata = {key.removeprefix("pnasnet."): value for key, value in column.metadata().items()}
        with suppress(InputError):
            check_comparable(metadata, features.metadata, what=name, where=path)
            if column.type.list_size == features.length:
                return Gallery(features, name)
    raise InputError(
        f"{path} was not computed by {' or '.join(modules)} as served here (pooled features, the model's own "
        "preprocessing): serve its model, or compute the features again"
    )
