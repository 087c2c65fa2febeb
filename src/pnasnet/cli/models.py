"""`pnasnet models`."""

from typing import Any

import click

from ..support.urls import redact
from .options import flag
from .printing import say, to_json
from .tables import TableColumn, last_folders, note_left_out, print_table
from .values import models as models_or_paths

_NETWORK = (
    TableColumn("model"),
    TableColumn("cells", right=True, rank=4),
    TableColumn("filters", right=True, rank=5),
    TableColumn("input", right=True, rank=2),
    TableColumn("features", right=True, rank=1),
    TableColumn("parameters", right=True, rank=1),
    TableColumn("mult-adds", right=True, rank=3),
)
_WEIGHTS = (
    TableColumn("weights"),
    TableColumn("model", rank=1),
    TableColumn("by", rank=5),
    TableColumn("classes", right=True, rank=3),
    TableColumn("top-1", right=True, rank=2),
    TableColumn("top-5", right=True, rank=4),
    TableColumn("is"),
)


@click.command(short_help="List models and their weights.")
@click.argument("networks", nargs=-1, metavar="[MODEL]...", shell_complete=models_or_paths)
@flag("--json", "as_json", help="Print a JSON list.")
def models(networks: tuple[str, ...], as_json: bool) -> None:
    """List the models that have weights, and the published sets of weights; or describe each MODEL.

    --model accepts the names in both tables; by default, a model uses its first set of weights. Weights are shipped
    with the package, cached on this machine, or downloadable. Parameters and mult-adds (multiply-additions per image)
    include the classifier, but not the auxiliary head, which only training uses.

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
        rows = [[redact(name), *row] for name, row in zip(networks, rows, strict=True)]
        note_left_out(print_table((TableColumn("given", shorten=last_folders), *_NETWORK), rows))
        return
    left_out = print_table(_NETWORK, rows)
    say()
    sets = [_weights_cells(network, record) for network in described for record in network["weights"]]
    note_left_out(left_out + print_table(_WEIGHTS, sets))


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
