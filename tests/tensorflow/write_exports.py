"""Write the SavedModels that TensorFlow's tests read, with what this package computes for them.

Run in this package's environment: python -m tests.tensorflow.write_exports FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pnasnet import CellSpec, Module, NetworkSpec, resolve
from pnasnet.architecture.zoo import NETWORKS
from pnasnet.module.export import Export

from tests.helpers.golden_weights import draw

OPERATIONS = CellSpec.of(
    [
        ("conv1x7_7x1", 0, "dil3", 1),
        ("avg3", 1, "max3", 0),
        ("conv1", 0, "conv3", 1),
        ("max5", 1, "conv1x3_3x1", 0),
        ("sep7", 3, "identity", 0),
    ]
)


def write(name: str, module: Module, folder: Path) -> None:
    """Export a module, and record its endpoints for two random images."""
    folder.mkdir()
    Export(folder / "model", "saved_model").write(module)
    images = np.random.default_rng(0).random((2, *module.image_size, 3), np.float32)
    endpoints = tuple(module.model.plan.endpoints())
    arrays: dict[str, Any] = {"images": images, **module.run(images, endpoints)}
    np.savez(folder / "expected.npz", **arrays)
    (folder / "signatures.json").write_text(json.dumps(module.get_signature_names()))
    print(f"{folder}: {name}")


def random(spec: NetworkSpec) -> Module:
    """Return a network with random weights."""
    weights = {variable: draw(variable, shape) for variable, shape in resolve(spec).variables().items()}
    positive = {name: 0.5 + np.abs(value) for name, value in weights.items() if name.endswith("/moving_variance")}
    return Module(spec, weights | positive)


def main(folder: Path) -> None:
    """Export a trained network, a random one with the ImageNet stem, and one of the other operations."""
    folder.mkdir(parents=True, exist_ok=True)
    write("pnasnet_tiny", Module("pnasnet_tiny"), folder / "tiny")
    write("pnasnet_mobile", random(NETWORKS["pnasnet_mobile"].spec), folder / "mobile")
    write("other operations", random(NetworkSpec(OPERATIONS, 4, 8, (15, 20), 5, stem="cifar")), folder / "operations")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
