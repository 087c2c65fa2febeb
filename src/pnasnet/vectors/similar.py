"""Finds the images most similar to named ones, as `pnasnet similar` does."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..support.arguments import checked
from ..support.progress import Progress, silent
from ..support.text import clean, counted
from ..support.typed import convert_fields
from .approximate import ApproximateIndex, approximate_folder, build_approximate, open_approximate
from .build import build_index
from .features import Entry, Features, check_comparable, open_features
from .index import VectorIndex, index_folder, open_index
from .parts import Numbers, SeveralColumnsError
from .queries import Query, find_queries
from .search import Nearest, search_exactly

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..module import Module
    from ..module.choice import ModelChoice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """A query and the images most similar to it.

    Attributes:
        query: the query.
        entries: the images, most similar first; none if the query has no vector.
        similarities: their cosines, in [-1, 1].
        approximate: whether more similar images may be missing.
        ids: the ids of the images' rows.

    Example:
        >>> from pnasnet.extract import ModelChoice
        >>> from pnasnet.vectors import SearchOptions, find_similar, open_features
        >>> features = open_features("features.parquet")
        >>> (answer,) = find_similar(features, ["photos/coffee.jpg"], 3, ModelChoice(""), SearchOptions())
        >>> answer.query.path, len(answer.entries), answer.approximate
        ('photos/coffee.jpg', 3, False)
    """

    query: Query
    entries: Sequence[Entry] = ()
    similarities: Sequence[float] = ()
    approximate: bool = False
    ids: Sequence[int] = ()


@dataclass(frozen=True)
class SearchOptions:
    """How features are searched. Raises `InputError` if both `approximate` and `exact` are set.

    Example:
        >>> from pnasnet.vectors import SearchOptions
        >>> SearchOptions(approximate=True, exact=True)
        Traceback (most recent call last):
            ...
        pnasnet.errors.InputError: a search is either approximate or exact: ...
    """

    build: bool = False
    """Whether to build the index first, or add new parts to it."""
    approximate: bool = False
    """Whether to use the approximate index, which needs FAISS."""
    exact: bool = False
    """Whether to read all vectors even if there is an index."""

    def __post_init__(self) -> None:
        convert_fields(self)
        if self.approximate and self.exact:
            raise InputError("a search is either approximate or exact: leave out --approximate or --exact")


@checked
def find_similar(
    features: Features,
    names: Sequence[str],
    k: int,
    model: "ModelChoice",
    options: SearchOptions,
    *,
    progress: Progress = silent,
) -> list[Answer]:
    """Return the `k` images most similar to each named one, in order.

    Args:
        features: the vectors to search.
        names: paths in the features, or any sources of images.
        k: number of neighbours.
        model: computes the vectors of images that the features do not hold. It has the engine, the model (an empty name
            for the recorded one), and the weights if they have moved. If it names a model or weights, these are opened
            and checked even if no query needs them.
        options: how the features are searched.
        progress: receives the rows done in the stages `train`, `index` and `search`.

    Raises:
        InputError: a source is missing, or the model computes vectors that are not comparable; as in `search_exactly`.
        UnknownNameError: there is no such model.
        WeightsError: the weights of the model are missing or damaged.
        OutputError: the index cannot be written.
        MissingExtraError: the approximate index needs FAISS.

    Example:
        >>> from pnasnet.extract import ModelChoice
        >>> from pnasnet.vectors import SearchOptions, find_similar, open_features
        >>> features = open_features("features.parquet")
        >>> (answer,) = find_similar(features, ["photos/coffee.jpg"], 3, ModelChoice(""), SearchOptions())
        >>> len(answer.entries), answer.similarities[0] > answer.similarities[1]
        (3, True)
    """
    given = _open_model(features, model) if model.model or model.weights else None
    queries = find_queries(
        features, names, _expand, lambda paths: _embed(features, given or _open_model(features, model), paths)
    )
    usable = [query for query in queries if query.vector is not None]
    found = iter(_search(features, usable, k, options, progress))
    nearest = [None if query.vector is None else next(found) for query in queries]
    return [
        Answer(query)
        if one is None
        else Answer(query, features.entries(one.ids), one.similarities.tolist(), options.approximate, one.ids.tolist())
        for query, one in zip(queries, nearest, strict=True)
    ]


def _choose_model(features: Features, choice: "ModelChoice") -> "ModelChoice":
    """Return the model that computes vectors like those of the features; its name is empty if it is unknown."""
    from ..architecture.zoo import NETWORKS

    recorded, origin = features.metadata.get("model", ""), features.metadata.get("weights")
    precision = features.metadata.get("precision")
    engine = replace(choice.engine, precision=precision if precision == "bfloat16" else None)  # else the model's own
    if not choice.model and recorded in NETWORKS:
        return replace(choice, model=recorded, weights=choice.weights or origin, engine=engine)
    weights = choice.weights if choice.model else None
    return replace(choice, model=choice.model or choice.weights or origin or recorded, weights=weights, engine=engine)


def _expand(names: list[str]) -> list[str]:
    from ..extract import list_units, pictures_of

    return [picture.name for picture in pictures_of(list_units(names))]


def _embed(features: Features, module: "Module", paths: list[str]) -> Iterator[tuple[str, Numbers | None, str | None]]:
    """Yield the vectors of images, computed with the settings of the features."""
    from ..extract import extract, find_named

    endpoint, options = _settings(features)
    for batch in extract(module, find_named(paths), options, endpoint=endpoint):
        vectors = iter(batch.vectors)
        for row in batch.rows:
            yield row.path, None if row.error else next(vectors), row.error


def _open_model(features: Features, choice: "ModelChoice") -> "Module":
    """Open a model. Raises `InputError` if its vectors are not comparable with those of the features."""
    from ..extract import columns_for

    chosen = _choose_model(features, choice)
    if not chosen.model:
        raise InputError(f"{features.path} does not state the model of its vectors: name it with --model")
    module = chosen.open()
    endpoint, options = _settings(features)
    (column,) = columns_for([module], [endpoint], options)
    ours = {key.removeprefix("pnasnet."): value for key, value in column.metadata().items()}
    what = f"{module.model.name} ({module.model.origin})"
    checksum = features.metadata.get("weights_sha256")
    if checksum and module.model.identified_by(checksum):  # earlier versions recorded the checksum of the file
        ours["weights_sha256"] = checksum
    check_comparable(ours, features.metadata, what=what, where=str(features.path))
    if column.type.list_size != features.length:
        raise InputError(
            f"{what} computes vectors of length {column.type.list_size:,}, but those of {features.path} have length "
            f"{features.length:,}: name their model with --model"
        )
    return module


def _settings(features: Features) -> tuple[str, "ExtractOptions"]:
    """Return the endpoint and the options with which the features were computed."""
    from ..extract import ExtractOptions

    metadata = features.metadata
    options = ExtractOptions(
        preset=metadata.get("preset"),
        exif=metadata["exif"] == "true" if "exif" in metadata else None,
        vectors=metadata.get("vectors", "float32"),
        normalize=metadata.get("normalized") == "true",
        whole_maps="x" in metadata.get("shape", ""),
    )
    return metadata.get("endpoint", "global_pool"), options


def _search(
    features: Features, usable: Sequence[Query], k: int, options: SearchOptions, progress: Progress
) -> list[Nearest]:
    """Return the rows nearest to each query."""
    index: VectorIndex | ApproximateIndex | None = None
    if options.build:
        index = (build_approximate if options.approximate else build_index)(features, progress=progress)
        folder = (approximate_folder if options.approximate else index_folder)(features.path)
        log.info("%s: %s", folder, counted(index.count, "vector"))
    elif usable and options.approximate:
        index = open_approximate(features)
    elif usable and not options.exact:
        index = open_index(features)
        if index is None:
            log.info("there is no index: reading all %s rows; build one with --index", f"{features.rows:,}")
    with index or nullcontext():
        if not usable:
            return []
        vectors = np.stack([query.vector for query in usable if query.vector is not None])
        own = [query.id for query in usable]
        if options.exact or index is None:
            return search_exactly(features, vectors, k, without=own, progress=progress)
        found = index.search(vectors, k, own)
    if isinstance(index, ApproximateIndex):
        share = None if index.recall is None else f"{int(1000 * index.recall) / 10} %"
        measured = f" (measured: {share} of the 10 nearest are found)" if share else ""
        log.info(
            "the results are approximate: some of the nearest may be missing%s; without --approximate they are exact",
            measured,
        )
    elif unproved := sum(not one.proved for one in found):
        log.info(
            "%s of %s results are not proved to be exact: too many vectors are about as near; read all with --exact",
            f"{unproved:,}", f"{len(found):,}",
        )  # fmt: skip
    return found


@checked
def wrong_order(features: str, queries: Sequence[str]) -> str | None:
    """Return an error if the last argument is an image, or another one holds features instead; otherwise None."""
    from ..images.source import is_image_path

    if is_image_path(features):
        corrected, problem = " ".join((features, *queries)), f"{features} is an image"
    elif not _is_features(features) and (found := next(filter(_is_features, queries), None)):
        others = [query for query in queries if query != found]
        corrected, problem = " ".join((*others, features, found)), f"{features} holds no features, but {found} does"
    else:
        return None
    return clean(f"{problem}; FEATURES comes last: pnasnet similar {corrected}")


def _is_features(name: str) -> bool:
    try:
        open_features(name)
    except SeveralColumnsError:
        return True
    except (OSError, ValueError):
        return False
    return True
