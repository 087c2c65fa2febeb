"""The torch network against the golden outputs, and what training needs of it."""

from typing import Any

import numpy as np
import pytest
import torch
from golden_weights import SPECS, assert_endpoints, images, load, weights

from pnasnet.errors import UnknownNameError
from pnasnet.network import Network
from pnasnet.plan import resolve

GOLDEN_NETWORKS = [pytest.param(n, marks=[pytest.mark.slow] if n == "pnasnet_large" else []) for n in SPECS]


def golden_network(name: str, **options: Any) -> Network:
    network = Network(resolve(SPECS[name]), **options)
    network.load_variables(weights(name))
    return network


@pytest.mark.parametrize("name", GOLDEN_NETWORKS)
def test_every_endpoint_equals_tf_slim(name: str) -> None:
    network = golden_network(name).eval()
    endpoints = list(network.plan.endpoints())
    with torch.inference_mode():
        outputs = network(torch.from_numpy(images(network.plan.spec.image_size[0])), endpoints)
    assert {f"endpoint/{e}" for e in endpoints} == {k for k in load(name) if k.count("/") == 1 and "endpoint/" in k} | {
        k.rsplit("/", 1)[0] for k in load(name) if k.startswith("endpoint/") and k.endswith("/shape")
    }
    assert_endpoints(name, {e: value.numpy() for e, value in outputs.items()})
