"""`pnasnet classify`."""

from typing import TYPE_CHECKING

import click

from .errors import EXIT_IMAGES_FAILED
from .logs import show_logs
from .numbers import Whole
from .options import QUIET, extract_options, flag, model_options
from .printing import say, to_json
from .sections import command
from .tables import print_line
from .values import paths

if TYPE_CHECKING:
    from ..extract import Classification, ExtractOptions
    from ..module.choice import ModelChoice


@command(short_help="Print the most likely classes of images.")
@click.argument("sources", nargs=-1, required=True, shell_complete=paths)
@model_options
@extract_options
@click.option("--top", type=Whole(), default=5, show_default=True, metavar="N", help="Print the N most likely classes.")
@flag("--json", "as_json", help="Print one JSON object per line and image.")
@QUIET
def classify(
    sources: tuple[str, ...], model: "ModelChoice", options: "ExtractOptions", top: int, as_json: bool, quiet: bool
) -> None:
    """Print the most likely classes of images, with their probabilities.

    SOURCES are as for `pnasnet embed`: files, folders, patterns, tar, zip and Parquet files, on disk or at a URL, and
    Hugging Face datasets. Images that cannot be read are named, and the exit code is then 3.

    \b
      pnasnet classify photo.jpg
      pnasnet classify photos/ https://host/photo.jpg --model pnasnet_large --top 3
      pnasnet classify photos/ --json | jq -r '[.path, .classes[0].name] | @tsv'
    """
    from ..extract import classify as classify_pictures
    from ..extract import list_units, pictures_of

    units = list(list_units(sources))  # fails before a model is downloaded
    show_logs(quiet=quiet)
    module = model.open()
    count = failed = 0
    for result in classify_pictures(module, pictures_of(units), options, top=top):
        count += 1
        failed += result.error is not None
        (_print_json if as_json else _print)(result)
    if failed:
        say(f"{failed:,} of {count:,} images failed", err=True)
        raise SystemExit(EXIT_IMAGES_FAILED)


def _print(result: "Classification") -> None:
    if result.error is not None:
        say(f"failed: {result.error}", err=True)
        return
    say(result.path)
    for name, probability in result.classes:
        print_line(f"  {probability:7.2%}  {name}")


def _print_json(result: "Classification") -> None:
    classes = [{"name": name, "probability": probability} for name, probability in result.classes]
    click.echo(to_json({"path": result.path, "classes": classes, "error": result.error}))
