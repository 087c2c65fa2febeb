"""`pnasnet similar`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.files import check_target
from .errors import EXIT_IMAGES_FAILED
from .logs import show_logs
from .progress import rows_bar
from .sections import command

if TYPE_CHECKING:
    from ..module.choice import ModelChoice
    from ..vectors import Features, Nearest, Picture, Query
    from ..vectors.sketch import Vectors


@command()
@click.argument("queries", nargs=-1, metavar="[QUERY]...")
@click.argument("features")
@click.option(
    "-k",
    "--top",
    "k",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="Number of photos per query.",
)
@click.option("--index", "build", is_flag=True, help="Build FEATURES.index, or add new parts to it, before searching.")
@click.option("--exact", is_flag=True, help="Read all of FEATURES, even if there is an index.")
@click.option("--column", metavar="NAME", help="Column with the vectors, if FEATURES has several.")
@click.option("-m", "--model", metavar="MODEL", help="Model of FEATURES.  [default: the recorded one]")
@click.option("-w", "--weights", metavar="SOURCE", help="Weights of that model, if they have moved.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Library that runs the network: openvino, torch or auto.",
)
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine.  [default: one per processor]"
)
@click.option("--html", metavar="FILE", help="Also write a page with the photos. An existing FILE is replaced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per query and line.")
@click.option("-q", "--quiet", is_flag=True, help="Print neither a progress bar nor notes.")
def similar(
    queries: tuple[str, ...],
    features: str,
    k: int,
    build: bool,
    exact: bool,
    column: str | None,
    model: str | None,
    weights: str | None,
    engine: str,
    threads: int | None,
    html: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the photos most similar to others.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`. A QUERY is a path in
    FEATURES, which needs no model, or any source of `pnasnet embed`: a photo, a folder, a shard, a URL. Its vectors are
    computed with the model and settings of FEATURES. Similarity is the cosine of two vectors; equal photos have 1.

    Without an index, all of FEATURES is read. With an index, built by --index, an answer takes a fraction of a second
    and is reported if it is not proved to be exact. Queries that cannot be read are named, and the exit code is then 3.
    Photos of a page that can no longer be opened are counted.

    \b
      pnasnet similar photo.jpg features.parquet --html similar.html
      pnasnet similar --index features/
      pnasnet similar photos/a.jpg 'new/*.jpg' features/ -k 5
    """
    from ..images.source import is_image_path
    from ..vectors import find_queries, open_features

    if is_image_path(features):
        shown = " ".join((features, *queries))
        raise click.UsageError(f"{features} is a photo; FEATURES comes last: pnasnet similar {shown}")
    if not queries and not build:
        raise click.UsageError("name a picture and the features to search in, or build an index of these with --index")
    if html:
        check_target(Path(html))
    opened = open_features(features, column)
    chosen = _model(opened, model, weights, engine, threads)
    asked = find_queries(opened, queries, _expand, lambda paths: _embed(opened, chosen, paths, quiet))
    answers = _search(opened, asked, k, build=build, exact=exact, quiet=quiet)
    results = [(query, _described(opened, nearest)) for query, nearest in zip(asked, answers, strict=True)]
    for query, found in results:
        (_print_json if as_json else _print)(query, found)
    if html:
        show_logs(quiet=quiet)
        _write_page(Path(html), opened, results)
        if not quiet:
            click.echo(f"{html}: written", err=True)
    if any(query.error for query in asked):
        raise SystemExit(EXIT_IMAGES_FAILED)


def _expand(names: list[str]) -> list[str]:
    from ..extract import list_units, pictures_of

    return [picture.name for picture in pictures_of(list_units(names))]


def _model(
    features: "Features", model: str | None, weights: str | None, engine: str, threads: int | None
) -> "ModelChoice":
    """Return the model that is named, or the one that the features name."""
    from ..architecture.zoo import NETWORKS
    from ..engines import EngineOptions
    from ..module.choice import ModelChoice

    stated, origin = features.metadata["model"], features.metadata.get("weights")
    options = EngineOptions(engine, features.metadata.get("precision", "float32"), threads)
    if model is None and stated in NETWORKS:
        return ModelChoice(stated, weights or origin, options)
    return ModelChoice(model or weights or origin or stated, weights if model else None, options)


def _embed(
    features: "Features", model: "ModelChoice", paths: list[str], quiet: bool
) -> Iterator[tuple[str, "Vectors | None", str | None]]:
    """Yield the vectors of photos, computed as those of the features were."""
    from ..extract import ExtractOptions, columns_for, extract, find_named
    from ..vectors import check_comparable

    told = features.metadata
    endpoint = told.get("endpoint", "global_pool")
    options = ExtractOptions(
        preset=told.get("preset"),
        exif=told.get("exif") == "true",
        vectors=told.get("vectors", "float32"),
        normalize=told.get("normalized") == "true",
        whole_maps="x" in told.get("shape", ""),
    )
    show_logs(quiet=quiet)
    module = model.open()
    (column,) = columns_for([module], [endpoint], options)
    ours = {key.removeprefix("pnasnet."): value for key, value in column.metadata().items()}
    if module.model.identified_by(told.get("weights_sha256", "")):  # or by their file, as recorded earlier
        ours["weights_sha256"] = told["weights_sha256"]
    check_comparable(ours, told, what=f"{module.model.name} ({module.model.origin})", where=str(features.path))
    for batch in extract(module, find_named(paths), options, endpoint=endpoint):
        vectors = iter(batch.vectors)
        for row in batch.rows:
            yield row.path, None if row.error else next(vectors), row.error


def _search(
    features: "Features", asked: "list[Query]", k: int, *, build: bool, exact: bool, quiet: bool
) -> "list[Nearest | None]":
    """Return what is nearest to each query that has a vector."""
    import numpy as np

    from ..support.text import counted
    from ..vectors import build_index, index_folder, open_index, search_exactly

    usable = [query for query in asked if query.vector is not None]
    vectors = np.array([query.vector for query in usable], np.float32)
    own = [query.id for query in usable]
    index = None if build or exact or not usable else open_index(features)
    if build:
        with rows_bar("index", features.rows, quiet) as advance:
            index = build_index(features, progress=advance)
        if not quiet:
            click.echo(f"{index_folder(features.path)}: {counted(index.count, 'vector')}", err=True)
    if not usable:
        found = []
    elif index is None or exact:
        if not quiet and not exact:
            click.echo(f"there is no index: all {features.rows:,} rows are read; --index builds one", err=True)
        with rows_bar("search", features.rows, quiet) as advance:
            found = search_exactly(features, vectors, k, without=own, progress=advance)
    else:
        found = index.search(vectors, k, own)
    if index is not None:
        index.close()
    open_still = sum(not one.proved for one in found)
    if open_still and not quiet:
        click.echo(
            f"{open_still:,} of {len(found):,} answers are not proved to be the nearest: too many are about as near; "
            "--exact reads all",
            err=True,
        )
    nearest = iter(found)
    return [None if query.vector is None else next(nearest) for query in asked]


def _described(features: "Features", nearest: "Nearest | None") -> "list[tuple[Picture, float]]":
    if nearest is None:
        return []
    return list(zip(features.pictures(nearest.ids), nearest.similarities.tolist(), strict=True))


def _print(query: "Query", found: "list[tuple[Picture, float]]") -> None:
    from ..support.text import clean

    if query.error:
        click.echo(f"failed: {query.error}", err=True)
        return
    click.echo(clean(query.path))
    for picture, similarity in found:
        click.echo(f"  {similarity:7.4f}  {clean(picture.path)}")


def _print_json(query: "Query", found: "list[tuple[Picture, float]]") -> None:
    listed = [{"path": picture.path, "similarity": similarity} for picture, similarity in found]
    click.echo(json.dumps({"path": query.path, "similar": listed, "error": query.error}))


def _write_page(path: Path, features: "Features", results: "list[tuple[Query, list[tuple[Picture, float]]]]") -> None:
    from ..support.files import write_text
    from ..support.text import counted
    from ..vectors import Picture, Row, Shown, gallery_page

    rows = [
        Row(query.path, [Shown(Picture(query.path)), *(Shown(picture, similarity) for picture, similarity in found)])
        for query, found in results
        if query.error is None
    ]
    about = f"The most similar of {counted(features.rows, 'picture')}, the most similar first."
    write_text(path, gallery_page("Similar pictures", about, features, rows))
