"""Write the SavedModels that TensorFlow's tests read, with what this package computes for them.

Run in this package's environment: python -m tests.tensorflow.write_exports FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pnasnet import Module, NetworkSpec
from pnasnet.architecture.zoo import NETWORKS
from pnasnet.module.export import Export

from tests.helpers.golden_weights import EVERY_OPERATION, drawn


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


def main(folder: Path) -> None:
    """Export a trained network, a random one with the ImageNet stem, and one of the other operations."""
    folder.mkdir(parents=True, exist_ok=True)
    write("pnasnet_tiny", Module("pnasnet_tiny"), folder / "tiny")
    mobile, other = NETWORKS["pnasnet_mobile"].spec, NetworkSpec(EVERY_OPERATION, 4, 8, (15, 20), 5, stem="cifar")
    write("pnasnet_mobile", Module(mobile, drawn(mobile)), folder / "mobile")
    write("every operation", Module(other, drawn(other)), folder / "operations")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
