"""A quantized `pnasnet_tiny`, made once for each process of tests."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from pnasnet.quantize import QuantizeOptions, QuantizeResult, quantize
from pnasnet.weights.quantized import MANIFEST

IMAGES = Path(__file__).parents[1] / "golden" / "cifar10_400.parquet"
"""400 images of CIFAR-10's test set."""


@cache
def quantized_tiny() -> QuantizeResult:
    """Return the result for `pnasnet_tiny`, calibrated with 200 images and measured with 200."""
    folder = Path(tempfile.mkdtemp(prefix="quantized-")) / "int8"
    options = QuantizeOptions(images=200, held_out=200, least_cosine=0.98, threads=1)
    return quantize("pnasnet_tiny", IMAGES, folder, options)


def copied(folder: Path) -> Path:
    """Return a copy to damage."""
    return Path(shutil.copytree(quantized_tiny().folder, folder / "int8"))


def change_manifest(folder: Path, **changes: Any) -> None:
    """Replace fields of a folder's manifest; None removes one."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))
