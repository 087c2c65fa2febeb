"""Maps of images: coordinates, a table for Apple's embedding-atlas, and a page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..reports.pages import data_url, render
from ..support.arguments import checked
from ..support.files import check_target, replacing
from ..support.progress import Progress, silent
from ..support.text import clean
from ..support.typed import check_range, convert_fields
from .colouring import Colouring, colourings
from .features import Entry, Features, Ids
from .index import VectorIndex
from .opening import open_thumbnails
from .projection import Neighbours, Projection, choose_projection, feasible, nearest_of_all, project
from .sketch import Vectors, principal_basis

if TYPE_CHECKING:
    from ..pictures import Access

PAGE_POINTS = 50_000
"""Limit of points on a page, which holds all their names."""

PAGE_THUMBNAILS = 2_000
"""Limit of thumbnails on a page."""

_PAGE_NEIGHBOURS = 8
"""Neighbours of each image on a page."""

_PAGE_NUMBERS = 64
"""Numbers of each image, a byte each, from which a page computes approximate similarities."""

_ROWS = 1000
"""Rows written at a time."""


@dataclass(frozen=True)
class ExploreOptions:
    """Options of a map of images.

    Raises `InputError` for values of another type or out of range, and the errors of `choose_projection`.

    Example:
        >>> from pnasnet.vectors import ExploreOptions
        >>> ExploreOptions(points=10_000, projection="pca").neighbours
        15
    """

    points: int | None = None
    """Limit of images, spread evenly over the features; None for all."""
    projection: str | None = None
    """`pca` or `umap`; None for UMAP if it is installed, else PCA."""
    neighbours: int = 15
    """Number of nearest neighbours to find for each image."""
    thumbnail: int = 96
    """Longer side of a thumbnail, in pixels."""

    def __post_init__(self) -> None:
        convert_fields(self, points=1, neighbours=1)
        check_range("thumbnail", self.thumbnail, 8, 512)
        choose_projection(self.projection)


@dataclass(frozen=True)
class PictureMap:
    """M images with their coordinates on a map.

    Attributes:
        pictures: the images' descriptions.
        points: coordinates in [0, 1], float32 [M, 2].
        neighbours: the nearest neighbours of each image among these M.
        total: number of vectors in the features, from which these M were chosen.
        projection: the projection used: PCA if there are too few images for UMAP.
        features: the table of the images.
        ids: the images' rows in the table, int64 [M].
        sketches: float32 [M, up to 64]; their inner products approximate the similarities.

    Example:
        >>> from pnasnet.vectors import ExploreOptions, build_index, make_map, open_features
        >>> with build_index(open_features("features.parquet")) as index:
        ...     shown = make_map(index, ExploreOptions(projection="pca"))
        >>> [picture.path for picture in shown.pictures][:2], shown.projection
        (['photos/astronaut.jpg', 'photos/chelsea.jpg'], 'pca')
    """

    pictures: list[Entry]
    points: Vectors
    neighbours: Neighbours
    total: int
    projection: Projection
    features: Features
    ids: Ids
    sketches: Vectors


@checked
def make_map(index: VectorIndex, options: ExploreOptions, progress: Progress = silent) -> PictureMap:
    """Project the images of an index onto a map.

    `progress` receives the images done in the stage `neighbours`.

    Example:
        >>> from pnasnet.vectors import ExploreOptions, build_index, make_map, open_features
        >>> with build_index(open_features("features.parquet")) as index:
        ...     shown = make_map(index, ExploreOptions(projection="pca"))
        >>> shown.points.shape
        (4, 2)
    """
    projection = choose_projection(options.projection)
    count = min(index.count, options.points or index.count)
    positions = np.linspace(0, index.count - 1, count).astype(np.int64)
    neighbours = nearest_of_all(index, positions, options.neighbours, progress=progress)
    projection = feasible(projection, neighbours)
    points = project(index, positions, neighbours, projection)
    ids = index.ids(positions)
    entries = index.features.entries(ids)
    within = np.ascontiguousarray(index.sketches[positions, :-1])
    sketches = within @ principal_basis(within, _PAGE_NUMBERS).T
    return PictureMap(entries, points, neighbours, index.count, projection, index.features, ids, sketches)


@checked
def write_atlas(
    path: Path, shown: PictureMap, options: ExploreOptions, access: "Access", progress: Progress = silent
) -> None:
    """Write the table that embedding-atlas opens.

    It has a row for each image: `path` (string), `image` (struct of `bytes`, a JPEG thumbnail or null if the image
    cannot be opened, and `path`), `width` and `height` (int32), `x` and `y` (float32), `neighbors` (struct of `ids`,
    row numbers, and `distances`, cosine, nearest first). A warning counts the images that cannot be opened, with
    reasons. Raises `OutputError`.
    """
    names = [entry.path for entry in shown.pictures]
    opened = open_thumbnails(shown.features, names, access, options.thumbnail, progress=progress)
    rows = _atlas_rows(shown, (each.jpeg if each else None for each in opened))
    check_target(path, ".parquet")
    with replacing(path) as temporary, pq.ParquetWriter(temporary, _atlas_schema()) as writer:
        while some := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, _atlas_schema()))


@checked
def map_page(
    shown: PictureMap, title: str, options: ExploreOptions, access: "Access", progress: Progress = silent
) -> str:
    """Return a page with the map, with thumbnails of up to `PAGE_THUMBNAILS` images.

    A warning counts the images that cannot be opened, with reasons.
    """
    count = len(shown.pictures)
    pictured = np.unique(np.linspace(0, count - 1, min(count, PAGE_THUMBNAILS)).astype(np.int64)).tolist()
    names = [shown.pictures[place].path for place in pictured]
    opened = open_thumbnails(shown.features, names, access, options.thumbnail, quality=70, progress=progress)
    images = {place: data_url(each.jpeg if each else None) for place, each in zip(pictured, opened, strict=True)}
    found = {place: image for place, image in images.items() if image}
    paths = [picture.path for picture in shown.pictures]
    colours = colourings(shown.features, shown.ids, paths)
    if shown.neighbours.distances.size:
        colours.append(Colouring("similarity to the nearest image", 1 - shown.neighbours.distances[:, 0]))
    data: dict[str, Any] = {
        "points": _encoded(shown.points, "<f4"),
        "names": [clean(picture.path) for picture in shown.pictures],
        "images": found,
        "colourings": [each.to_dict() for each in colours],
        "neighbours": _encoded(shown.neighbours.places[:, :_PAGE_NEIGHBOURS], "<i4"),
        "sketches": _encoded(np.rint(np.clip(127 * shown.sketches, -127, 127)), "i1"),
    }
    return render(
        "map.html",
        {
            "title": title,
            "data": data,
            "count": count,
            "total": shown.total,
            "projection": shown.projection,
            "pictured": len(found),
            "lost": len(images) - len(found),
            "listed": [(shown.pictures[place].path, images[place]) for place in pictured[:100]],
        },
    )


def _encoded(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def _atlas_schema() -> pa.Schema:
    return pa.schema(
        [
            pa.field("path", pa.string()),
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("x", pa.float32()),
            pa.field("y", pa.float32()),
            pa.field("neighbors", pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])),
        ]
    )


def _atlas_rows(shown: PictureMap, jpegs: Iterator[bytes | None]) -> Iterator[dict[str, Any]]:
    for row, (picture, jpeg) in enumerate(zip(shown.pictures, jpegs, strict=True)):
        yield {
            "path": picture.path,
            "image": {"bytes": jpeg, "path": picture.path},
            "width": picture.width,
            "height": picture.height,
            "x": float(shown.points[row, 0]),
            "y": float(shown.points[row, 1]),
            "neighbors": {
                "ids": shown.neighbours.places[row].tolist(),
                "distances": shown.neighbours.distances[row].tolist(),
            },
        }
