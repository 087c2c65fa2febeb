"""The known models, and their figures."""

from pathlib import Path
from typing import Any

from ..architecture.network_file import is_network_file, read_network
from ..architecture.plan import resolve
from ..architecture.zoo import NETWORKS, NamedNetwork, PublishedWeights, find_named
from ..support.arguments import checked
from ..weights.fetch import available


def list_models() -> list[str]:
    """Return the names of the models with weights, which `Module` opens without further arguments.

    Example:
        >>> import pnasnet
        >>> [name for name in pnasnet.list_models() if name.startswith("pnasnet_")]
        ['pnasnet_large', 'pnasnet_mobile', 'pnasnet_small', 'pnasnet_tiny']
    """
    return [network.name for network in NETWORKS.values() if network.weights]


@checked
def find_network(name: str) -> NamedNetwork:
    """Return the network of a model's name, handle, file or folder. Nothing is downloaded.

    Raises as `open_model`.
    """
    if is_network_file(name):
        return read_network(Path(name))
    if (name in NETWORKS or not Path(name).exists()) and (named := find_named(name)):
        return named.network
    from .open import open_model  # needs NumPy and Pillow

    model = open_model(name, offline=True)
    return NamedNetwork(model.name, model.spec, ())


@checked
def describe(network: NamedNetwork) -> dict[str, Any]:
    """Return a network's figures and its published weights, as values for JSON.

    Parameters and mult-adds (pairs of a multiplication and an addition, for one image) include the classifier but not
    the auxiliary head.
    """
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


def _describe_weights(record: PublishedWeights) -> dict[str, Any]:
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
