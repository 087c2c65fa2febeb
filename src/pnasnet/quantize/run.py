"""Quantizes a model with images, and writes its folder."""

import time
from collections.abc import Collection, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..extract import ModelChoice, list_units
from ..module.open import Model, open_model
from ..pictures import Unit
from ..support.arguments import checked
from ..support.folders import check_new_folder, replacing_folder
from ..support.progress import Progress, counter, silent
from ..weights.quantized import FILES
from . import graphs
from .choose import TradeOff, choose, parts
from .equalize import depthwise_nodes, equalized
from .fidelity import cosines
from .folder import FEATURES, complete, measure, write
from .images import Images, read_images
from .options import DEFAULTS, QuantizeOptions
from .result import QuantizeResult

if TYPE_CHECKING:
    import openvino


@checked
def quantize(
    model: str | PathLike[str] | ModelChoice,
    sources: str | PathLike[str] | Sequence[str | PathLike[str]] | Iterable[Unit],
    folder: str | PathLike[str],
    options: QuantizeOptions = DEFAULTS,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> QuantizeResult:
    """Quantize a model to int8, and write it as a folder that `Module` and all commands open like other weights.

    Args:
        model: the model, as for `Module`; or a choice, whose engine is ignored.
        sources: files, folders, archives or tables of images like those that the model will see; or their units.
        folder: the folder to write.
        options: numbers of images, the required fidelity, and more.
        overwrite: whether to replace an existing folder.
        progress: receives the items done in each stage.

    Raises:
        MissingExtraError: the library that quantizes is not installed.
        InputError: too few readable images, a model that is quantized already, or a fidelity below the required one.
        OutputError: the folder exists and `overwrite` is not set, or it cannot be written.
        OutOfMemoryError: there is too little memory for a batch.
    """
    start, target = time.perf_counter(), Path(folder)
    check_new_folder(target, FILES, overwrite=overwrite)
    graphs.check_library()
    choice = model if isinstance(model, ModelChoice) else ModelChoice(str(model))
    opened = open_model(choice.model, choice.weights, moving_averages=choice.moving_averages)
    if opened.quantized:
        raise InputError(f"{opened.origin} is quantized already: name the model that it was made from")
    images = read_images(_units(sources), opened.spec.image_size, options.preset or opened.preset, options, progress)
    original, whole, steps = make_graphs(opened, images, options, progress)
    graph = graphs.without(whole, steps[-1].floating)
    with replacing_folder(target, FILES, overwrite=overwrite) as temporary:
        manifest = write(temporary, graph, opened, images, steps, options)
        measured = measure(temporary, original, images, options)
        if measured.fidelity.mean_cosine < options.least_cosine:
            raise InputError(
                f"the mean cosine to float32 is {measured.fidelity.mean_cosine:.4f} on "
                f"{measured.fidelity.images} held-out images, below {options.least_cosine:g}: use more images like "
                "those that the model will see, or a lower --least-cosine (least_cosine=...)"
            )
        complete(temporary, manifest, measured)
        size = sum(path.stat().st_size for path in temporary.iterdir())
    seconds = time.perf_counter() - start
    return QuantizeResult(
        target, measured.fidelity, tuple(steps), len(images.calibration), images.failed, size, seconds
    )


def _units(sources: Any) -> Iterable[Unit]:
    if isinstance(sources, str | PathLike):
        return list_units([str(sources)])
    listed = list(sources)
    return listed if all(isinstance(each, Unit) for each in listed) else list_units([str(each) for each in listed])


def make_graphs(
    model: Model, images: Images, options: QuantizeOptions, progress: Progress
) -> tuple["openvino.Model", "openvino.Model", list[TradeOff]]:
    """Return the graphs in float32 and entirely in int8, with every endpoint each, and the steps of the choice."""
    plan, arrays = model.plan, model.arrays()
    weights = {name: arrays[name] for name in model.variables}
    calibration, batch_size = images.calibration, options.batch_size
    advance = counter(progress, "measuring ranges", 2)
    original = graphs.float_graph(plan, weights)
    reference = _features(original, calibration, options, "float32")
    advance(1)
    ranges = graphs.channel_ranges(original, depthwise_nodes(plan), calibration, batch_size)
    advance(1)
    whole = graphs.quantized(graphs.float_graph(plan, equalized(weights, ranges)), calibration, batch_size, progress)

    def cosine(floating: Collection[str]) -> float:
        features = _features(graphs.without(whole, floating), calibration, options, options.floating)
        return float(cosines(features, reference).mean())

    steps = choose(parts(plan), cosine, options.least_cosine, progress)
    return original, whole, steps


def _features(
    graph: "openvino.Model", images: graphs.Floats, options: QuantizeOptions, precision: str
) -> graphs.Floats:
    found = graphs.run(graphs.pruned(graph, [FEATURES]), images, options.batch_size, precision, options.threads)
    return found[FEATURES]
