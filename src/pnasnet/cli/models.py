"""`pnasnet models`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..architecture.zoo import NamedNetwork, PublishedWeights

_NETWORK = ("model", "cells", "filters", "input", "features", "parameters", "mult-adds")
_WEIGHTS = ("weights", "model", "by", "classes", "top-1", "top-5", "is")


@click.command(short_help="List networks and their weights.")
@click.argument("networks", nargs=-1, metavar="[MODEL]...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def models(networks: tuple[str, ...], as_json: bool) -> None:
    """List the networks that have names, and the weights that exist for them; or the networks of MODELs.

    Parameters and mult-adds (multiplications with their additions, for one image) are counted with the classifier and
    without the auxiliary head, which only training uses. Weights are shipped with the package, cached on this machine,
    or downloadable: --weights takes their names, and a model takes the first set unless told otherwise.

    A MODEL is a name, a TF-Hub handle or URL, a file or folder with weights, or a file with the description of a
    network, such as a search's best.json.

    \b
      pnasnet models
      pnasnet models model/ runs/two_cores/best.json
    """
    from ..architecture.zoo import NETWORKS

    chosen = [_find(name) for name in networks] or list(NETWORKS.values())
    described = [_describe(network) for network in chosen]
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    _print_table(_NETWORK, [_network_cells(network) for network in described])
    if networks:
        return
    click.echo()
    _print_table(_WEIGHTS, [_weights_cells(network, record) for network in described for record in network["weights"]])


def _find(name: str) -> "NamedNetwork":
    from ..architecture.network_file import is_network_file, read_network
    from ..architecture.zoo import NETWORKS, NamedNetwork, parse_handle
    from ..module.open import open_model

    if handle := parse_handle(name):
        name = handle[0]
    if name in NETWORKS:
        return NETWORKS[name]
    if is_network_file(name):
        return read_network(Path(name))
    model = open_model(name, offline=True)
    return NamedNetwork(model.name, model.spec, ())


def _describe(network: "NamedNetwork") -> dict[str, Any]:
    from ..architecture.plan import resolve

    plan = resolve(network.spec)
    return {
        "model": network.name,
        "cells": network.spec.num_cells,
        "filters": network.spec.filters,
        "image_size": list(network.spec.image_size),
        "features": plan.num_features,
        "parameters": plan.parameters,
        "mult_adds": plan.mult_adds,
        "weights": [_describe_weights(record) for record in network.weights],
    }


def _describe_weights(record: "PublishedWeights") -> dict[str, Any]:
    from ..weights.fetch import available

    return {
        "weights": record.id,
        "by": record.origin,
        "location": record.location,
        "licence": record.licence,
        "classes": record.num_classes,
        "top1": record.top1,
        "top5": record.top5,
        "availability": available(record),
    }


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
    """Return a count as the papers write it: three digits and a unit."""
    unit, scale = next(
        (unit, scale) for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3), ("", 1)) if count >= 0.9995 * scale
    )
    return f"{count / scale:#.3g}".rstrip(".") + unit


def _print_table(titles: Sequence[str], rows: list[list[str]]) -> None:
    """Print aligned columns, those of numbers to the right."""
    columns = []
    for title, *texts in zip(titles, *rows, strict=True):
        width = max(map(len, (title, *texts)))
        numeric = all(text[:1].isdigit() for text in texts if text)
        columns.append([text.rjust(width) if numeric else text.ljust(width) for text in (title, *texts)])
    for cells in zip(*columns, strict=True):
        click.echo("  ".join(cells).rstrip())
