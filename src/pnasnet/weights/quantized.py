"""Models quantized to int8: a folder with an OpenVINO graph and a manifest that describes it.

    int8.xml, int8.bin   the graph, with every endpoint, and its values
    quantization.json    the manifest: network, labels, preprocessing, calibration, measured fidelity, checksums

`pnasnet.quantize` writes these folders. Reading one needs neither the original weights nor the library that quantized
them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import resolve
from ..architecture.spec import NetworkSpec
from ..errors import CorruptWeightsError, InputError, WeightsError
from ..support.text import clean
from .arrays import Array, LazyArrays
from .files import MappedFile, sha256
from .source import WeightsSource

FORMAT = "pnasnet-int8-1"
"""The manifest's `format`; it changes with the manifest's meaning."""
FILES = MANIFEST, GRAPH, VALUES = "quantization.json", "int8.xml", "int8.bin"


@dataclass(frozen=True)
class QuantizedGraph:
    """A quantized graph, which an engine runs instead of one built from weights.

    Attributes:
        path: OpenVINO's `.xml` file; its values are in the `.bin` file beside it.
        floating: the precision of the layers that stay in floating point, `float32` or `bfloat16`.
    """

    path: Path
    floating: str


@dataclass(frozen=True)
class CalibratedRange:
    """The range of the features during calibration.

    Attributes:
        highest: the largest value of each feature, float32 [features].
        share: the largest share of an image's features above `highest` that the held-out images had.
    """

    highest: NDArray[np.float32]
    share: float

    def share_outside(self, features: NDArray[np.float32]) -> float:
        """Return the mean share of features, [batch, features], that are above the calibrated range."""
        return float((features > self.highest).mean())


@dataclass(eq=False)
class QuantizedWeights(WeightsSource):
    """An opened quantized model. Its arrays have shapes but cannot be read, because the graph has integers instead."""

    spec: NetworkSpec = field(kw_only=True)
    """The network that was quantized."""
    graph: QuantizedGraph = field(kw_only=True)
    calibrated: CalibratedRange = field(kw_only=True)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images; the graph accepts no other size."""
        return self.spec.image_size

    def checksum(self) -> str:
        """Return the SHA-256 of the format and the files, in hexadecimal; it differs from that of the original weights.

        It covers the quantized values and every setting that they depend on.
        """
        return hashlib.sha256(f"{FORMAT} {self.graph.floating} {sha256(self.files)}".encode()).hexdigest()


def read_quantized(folder: Path) -> QuantizedWeights:
    """Open a folder that `pnasnet quantize` wrote.

    Raises:
        WeightsError: it was written by a version with another format.
        CorruptWeightsError: the manifest or a file is damaged.
        WeightsNotFoundError: a file is missing.
    """
    manifest = _read_manifest(folder)
    files = (folder / GRAPH, folder / VALUES)
    try:
        spec = NetworkSpec.from_dict(manifest["spec"])
        floating = manifest["settings"]["floating"]
        if floating not in ("float32", "bfloat16"):
            raise ValueError(f"floating is {floating!r}")
        calibrated = _read_range(manifest["calibrated_range"])
        expected = {path: str(manifest["sha256"][path.name]) for path in files}
        metadata = {name: str(value) for name, value in manifest["model"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(folder / MANIFEST, f"{type(error).__name__}: {error}") from error
    for path in files:
        if sha256((path,)) != expected[path]:
            raise _damaged(path, "its checksum is not the one in the manifest")
    plan = resolve(spec)
    if calibrated.highest.shape != plan.endpoints()["global_pool"]:
        raise _damaged(folder / MANIFEST, f"it has ranges of {calibrated.highest.size} features")
    return QuantizedWeights(
        arrays=LazyArrays(plan.variables(), _refuse(folder, metadata)),
        format="int8 graph",
        path=folder,
        files=files,
        metadata=metadata,
        spec=spec,
        graph=QuantizedGraph(folder / GRAPH, floating),
        calibrated=calibrated,
    )


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(MappedFile(path).bytes.tobytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise _damaged(path, "it does not state its format")
    if manifest["format"] != FORMAT:
        raise WeightsError(
            f"{folder} has the format {clean(str(manifest['format']))[:60]}, and this version of pnasnet reads "
            f"{FORMAT}: quantize the model again"
        )
    return manifest


def _read_range(stated: Mapping[str, Any]) -> CalibratedRange:
    highest = np.array(stated["highest"], np.float32)
    if highest.ndim != 1 or not np.isfinite(highest).all():
        raise ValueError("the calibrated range is not a list of numbers")
    return CalibratedRange(highest, float(stated["share"]))


def _refuse(folder: Path, metadata: Mapping[str, str]) -> Any:
    def read(name: str) -> Array:
        origin = clean(metadata.get("origin", "the model"))
        raise InputError(
            f"{folder} is quantized to int8 and has no float32 weights: use its source, {origin}, to train, "
            "convert or export"
        )

    return read


def _damaged(path: Path, why: str) -> CorruptWeightsError:
    return CorruptWeightsError(f"{path} is damaged ({clean(why)[:200]}): quantize the model again")
