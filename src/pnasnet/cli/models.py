"""`pnasnet models`."""

from collections.abc import Sequence
from typing import Any

import click

from ..support.text import clean
from ..support.urls import redact
from .options import flag
from .printing import say, to_json

_NETWORK = ("model", "cells", "filters", "input", "features", "parameters", "mult-adds")
_WEIGHTS = ("weights", "model", "by", "classes", "top-1", "top-5", "is")


@click.command(short_help="List models and their weights.")
@click.argument("networks", nargs=-1, metavar="[MODEL]...")
@flag("--json", "as_json", help="Print a JSON list.")
def models(networks: tuple[str, ...], as_json: bool) -> None:
    """List the models that have weights, and the published sets of weights; or describe MODELs.

    --model accepts the names of both tables; a model uses its first set of weights by default. Weights are shipped with
    the package, cached on this machine, or downloadable. Parameters and mult-adds (multiply-additions per image)
    include the classifier but not the auxiliary head, which only training uses.

    A MODEL is a name, a TF-Hub handle or URL, the path of a file or folder with weights, or a network file, such as a
    search's best.json.

    \b
      pnasnet models
      pnasnet models model/ runs/two_cores/best.json
    """
    from ..module.catalogue import describe, find_network, list_models

    described = [describe(find_network(name)) for name in networks or list_models()]
    if as_json:
        click.echo(to_json(described, 2))
        return
    rows = [_network_cells(network) for network in described]
    if networks:
        named = zip(networks, rows, strict=True)
        _print_table(("given", *_NETWORK), [[clean(redact(name)), *row] for name, row in named])
        return
    _print_table(_NETWORK, rows)
    say()
    _print_table(_WEIGHTS, [_weights_cells(network, record) for network in described for record in network["weights"]])


def _network_cells(network: dict[str, Any]) -> list[str]:
    height, width = network["image_size"]
    counts = [_short(network["parameters"]), _short(network["mult_adds"])]
    numbers = [str(network[key]) for key in ("cells", "filters")]
    return [network["model"], *numbers, f"{height}x{width}", str(network["features"]), *counts]


def _weights_cells(network: dict[str, Any], record: dict[str, Any]) -> list[str]:
    scores = ["" if record[key] is None else f"{record[key]:.1f}" for key in ("top1", "top5")]
    names = [record["weights"], network["model"], record["by"]]
    return [*names, str(record["classes"]), *scores, record["availability"]]


def _short(count: int) -> str:
    """Return a count with three digits and a unit, as in the papers: `86.1M`."""
    unit, scale = next(
        (unit, scale) for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3), ("", 1)) if count >= 0.9995 * scale
    )
    return f"{count / scale:#.3g}".rstrip(".") + unit


def _print_table(titles: Sequence[str], rows: list[list[str]]) -> None:
    """Print aligned columns; numbers are aligned to the right."""
    columns = []
    for title, *texts in zip(titles, *rows, strict=True):
        width = max(map(len, (title, *texts)))
        numeric = all(text[:1].isdigit() for text in texts if text)
        columns.append([text.rjust(width) if numeric else text.ljust(width) for text in (title, *texts)])
    for cells in zip(*columns, strict=True):
        say("  ".join(cells).rstrip())
