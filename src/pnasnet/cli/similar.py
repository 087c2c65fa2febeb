"""`pnasnet similar`."""

from typing import TYPE_CHECKING

import click

from .errors import EXIT_IMAGES_FAILED
from .logs import show_logs
from .numbers import Whole
from .options import ENGINE, QUIET, THREADS, flag
from .printing import say, to_json
from .progress import bars
from .sections import command, given_options, pass_as, section
from .tables import TableColumn, last_folders, print_table
from .values import models, paths, weights
from .vectors import check_page, column_options, page_options, write_page

if TYPE_CHECKING:
    from ..module.choice import ModelChoice
    from ..pictures import Access
    from ..vectors import Answer, SearchOptions

_INDEXING = ("--index", "--approximate", "--column", "--path-column", "-q")
"""The options that have an effect without a query."""


def _choose_model(
    model: str = "", weights: str | None = None, engine: str = "auto", threads: int | None = None
) -> "ModelChoice":
    from ..engines import EngineOptions
    from ..module.choice import ModelChoice

    return ModelChoice(model, weights, EngineOptions(engine, threads=threads))


@command()
@click.argument("queries", nargs=-1, metavar="[QUERY]...", shell_complete=paths)
@click.argument("features", shell_complete=paths)
@click.option(
    "-k",
    "--top",
    "k",
    type=Whole(),
    default=10,
    show_default=True,
    metavar="N",
    help="Print the N most similar images of each query.",
)
@flag("--json", "as_json", help="Print one JSON object per line and query.")
@QUIET
@section(
    "Index",
    pass_as(
        "how",
        "pnasnet.vectors:SearchOptions",
        flag("--index", "build", help="Build FEATURES.index, or add new parts to it, before searching."),
        flag(
            "--approximate", help="For millions of images: use FEATURES.approximate, which --index builds with FAISS."
        ),
        flag("--exact", help="Read all of FEATURES, even if there is an index."),
    ),
)
@section(
    "Model of the queries",
    pass_as(
        "model",
        _choose_model,
        click.option(
            "-m",
            "--model",
            metavar="MODEL",
            shell_complete=models,
            help="Model of FEATURES.  [default: the recorded one]",
        ),
        click.option(
            "-w",
            "--weights",
            metavar="SOURCE",
            shell_complete=weights,
            help="Weights of that model, if they have moved.",
        ),
        ENGINE,
        THREADS,
    ),
)
@column_options
@page_options
def similar(
    queries: tuple[str, ...],
    features: str,
    k: int,
    how: "SearchOptions",
    model: "ModelChoice",
    column: str | None,
    names: str | None,
    access: "Access",
    html: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the images most similar to others.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`, or any table with a column
    of vectors. A QUERY is a path in FEATURES, which needs no model, or any source of `pnasnet embed`: an image, a
    folder, a shard, a URL. Its vector is computed with the model and settings recorded in FEATURES; a note names
    missing ones. If --model or --weights is given, it must match FEATURES. Similarity is the cosine of two vectors;
    equal images have 1.

    Without an index, all of FEATURES is read. With an index, built by --index, a query takes a fraction of a second,
    and a note counts results that are not proved to be exact. With --approximate, some of the nearest may be missing.
    Queries that cannot be read are named, and the exit code is then 3.

    \b
      pnasnet similar 'new/*.jpg' features.parquet -k 5 --html similar.html
      pnasnet similar --index features/
    """
    from ..vectors import find_similar, open_features, similar_page

    _check(features, queries, how.build, html)
    show_logs(quiet=quiet)
    opened = open_features(features, column, names)
    with bars(quiet) as progress:
        answers = find_similar(opened, queries, k, model, how, progress=progress)
    for answer in answers:
        (_print_json if as_json else _print)(answer)
    if html:
        with bars(quiet) as progress:
            page = similar_page(opened, answers, access, progress)
        write_page(html, page, quiet=quiet)
    if any(answer.query.error for answer in answers):
        raise SystemExit(EXIT_IMAGES_FAILED)


def _check(features: str, queries: tuple[str, ...], build: bool, html: str | None) -> None:
    from ..vectors.similar import wrong_order

    if order := wrong_order(features, queries):
        raise click.UsageError(order)
    if not queries and not build:
        raise click.UsageError("name an image and the features to search, or pass --index to build their index")
    for option in () if queries else given_options():
        if option not in _INDEXING:
            raise click.UsageError(f"{option} needs a query: without one, --index only builds the index")
    check_page(html, (features, *queries))


def _print(answer: "Answer") -> None:
    if answer.query.error:
        say(f"failed: {answer.query.error}", err=True)
        return
    say(answer.query.path)
    pairs = zip(answer.entries, answer.similarities, strict=True)
    rows = [(f"{similarity:7.4f}", entry.path) for entry, similarity in pairs]
    print_table((TableColumn("similarity"), TableColumn("path", shorten=last_folders)), rows, titles=False, indent="  ")


def _print_json(answer: "Answer") -> None:
    pairs = zip(answer.entries, answer.similarities, strict=True)
    listed = [{"path": entry.path, "similarity": similarity} for entry, similarity in pairs]
    about = {"approximate": answer.approximate, "error": answer.query.error}
    click.echo(to_json({"path": answer.query.path, "similar": listed, **about}))
