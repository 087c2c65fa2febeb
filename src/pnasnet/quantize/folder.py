"""Writes the folder of a quantized model, measures the model as users will open it, and adds the measurements."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..engines import EngineOptions
from ..errors import OutputError
from ..module.module import Module
from ..module.open import Model, metadata
from ..support.files import write_json
from ..weights.files import sha256
from ..weights.quantized import FORMAT, GRAPH, MANIFEST, VALUES
from . import graphs
from .choose import TradeOff
from .fidelity import Fidelity, compare
from .graphs import Floats
from .images import Images
from .options import QuantizeOptions

if TYPE_CHECKING:
    import openvino

FEATURES, LOGITS = "global_pool", "Logits"


@dataclass(frozen=True)
class Measurements:
    """Measurements of a written model.

    Attributes:
        fidelity: its fidelity to float32 on held-out images.
        highest: the largest value of each feature on the calibration images, float32 [F].
        share: the largest share of the features of a held-out image that are above `highest`.
    """

    fidelity: Fidelity
    highest: Floats
    share: float


def write(
    folder: Path,
    graph: "openvino.Model",
    model: Model,
    images: Images,
    steps: Sequence[TradeOff],
    options: QuantizeOptions,
) -> dict[str, Any]:
    """Write the graph, and a manifest without measurements; return the manifest. Raises `OutputError`."""
    import nncf
    import openvino

    path = folder / GRAPH
    try:
        openvino.save_model(graph, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OutputError(f"cannot write {path} (is the disk full?): {str(error).strip().splitlines()[-1]}") from error
    described = metadata(model)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "model": {**{key: str(described[key]) for key in described if key != "extra"}, **described["extra"]},
        "spec": model.spec.to_dict(),
        "made_from": {"weights": model.origin, "weights_sha256": model.checksum},
        "calibration": {"images": len(images.calibration), "sha256": images.checksum(), "failed": images.failed},
        "settings": {**asdict(options), "preset": options.preset or model.preset, "kept": list(steps[-1].floating)},
        "choice": [asdict(step) for step in steps],
        "sha256": {name: sha256((folder / name,)) for name in (GRAPH, VALUES)},
        "versions": {"pnasnet": __version__, "nncf": nncf.__version__, "openvino": openvino.get_version()},
        "fidelity": None,
        # A range that no image leaves, until it is measured.
        "calibrated_range": {"highest": [0.0] * model.plan.num_features, "share": 1.0},
    }
    manifest["model"]["origin"] = model.origin
    write_json(folder / MANIFEST, manifest)
    return manifest


def measure(folder: Path, original: "openvino.Model", images: Images, options: QuantizeOptions) -> Measurements:
    """Measure a written model against the float32 graph `original`. The model is opened as users will open it."""
    module = Module(folder, engine=EngineOptions("openvino", threads=options.threads))
    outputs = [name for name in (FEATURES, LOGITS) if name in module.model.plan.endpoints()]
    highest = _run(module, images.calibration, [FEATURES], options.batch_size)[FEATURES].max(axis=0)
    found = _run(module, images.held_out, outputs, options.batch_size)
    module.close()
    pruned = graphs.pruned(original, outputs)
    expected = graphs.run(pruned, images.held_out, options.batch_size, "float32", options.threads)
    fidelity = compare(found[FEATURES], expected[FEATURES], found.get(LOGITS), expected.get(LOGITS))
    return Measurements(fidelity, highest, float((found[FEATURES] > highest).mean(axis=1).max()))


def _run(module: Module, images: Floats, outputs: Sequence[str], batch_size: int) -> graphs.Outputs:
    parts = [module.run(batch, outputs) for batch in graphs.batches(images, batch_size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in outputs}


def complete(folder: Path, manifest: dict[str, Any], measured: Measurements) -> None:
    """Write the manifest again, with the measurements."""
    calibrated = {"highest": [float(f"{value:.6g}") for value in measured.highest], "share": measured.share}
    write_json(folder / MANIFEST, {**manifest, "fidelity": measured.fidelity.to_dict(), "calibrated_range": calibrated})
