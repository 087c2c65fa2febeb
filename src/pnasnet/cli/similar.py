"""`pnasnet similar`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.files import check_target
from .errors import EXIT_IMAGES_FAILED
from .logs import show_logs
from .progress import bars
from .sections import command
from .vectors import columns, photos

if TYPE_CHECKING:
    from ..pictures import Access
    from ..vectors import Answer


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
@columns
@photos
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
    names: str | None,
    access: "Access",
    model: str | None,
    weights: str | None,
    engine: str,
    threads: int | None,
    html: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the photos most similar to others.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`, or any table with a column
    of vectors; what it does not state cannot be checked, and is reported. A QUERY is a path in FEATURES, which needs no
    model, or any source of `pnasnet embed`: a photo, a folder, a shard, a URL. Its vectors are computed with the model
    and settings of FEATURES. Similarity is the cosine of two vectors; equal photos have 1.

    Without an index, all of FEATURES is read. With an index, built by --index, an answer takes a fraction of a second
    and is reported if it is not proved to be exact. If a query cannot be read, it is named, and the exit code is 3.

    \b
      pnasnet similar 'new/*.jpg' features.parquet -k 5 --html similar.html
      pnasnet similar --index features/
    """
    from ..engines import EngineOptions
    from ..module.choice import ModelChoice
    from ..support.files import write_text
    from ..vectors import find_similar, model_of, open_features, similar_page

    _check(features, queries, build, html)
    show_logs(quiet=quiet)
    opened = open_features(features, column, names)
    choice = model_of(opened, ModelChoice(model or "", weights, EngineOptions(engine, threads=threads)))
    with bars(quiet) as progress:
        answers = find_similar(opened, queries, k, choice, build=build, exact=exact, progress=progress)
    for answer in answers:
        (_print_json if as_json else _print)(answer)
    if html:
        write_text(Path(html), similar_page(opened, answers, access))
    if html and not quiet:
        click.echo(f"{html}: written", err=True)
    if any(answer.query.error for answer in answers):
        raise SystemExit(EXIT_IMAGES_FAILED)


def _check(features: str, queries: tuple[str, ...], build: bool, html: str | None) -> None:
    from ..vectors import wrong_order

    if order := wrong_order(features, queries):
        raise click.UsageError(order)
    if not queries and not build:
        raise click.UsageError("name a photo and the features to search in, or build their index with --index")
    if html:
        check_target(Path(html))


def _print(answer: "Answer") -> None:
    from ..support.text import clean

    if answer.query.error:
        click.echo(f"failed: {clean(answer.query.error)}", err=True)
        return
    click.echo(clean(answer.query.path))
    for entry, similarity in zip(answer.entries, answer.similarities, strict=True):
        click.echo(f"  {similarity:7.4f}  {clean(entry.path)}")


def _print_json(answer: "Answer") -> None:
    pairs = zip(answer.entries, answer.similarities, strict=True)
    listed = [{"path": entry.path, "similarity": similarity} for entry, similarity in pairs]
    click.echo(json.dumps({"path": answer.query.path, "similar": listed, "error": answer.query.error}))
