"""`pnasnet quantize`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .logs import show_logs
from .numbers import Real
from .options import MOVING_AVERAGES, OUTPUT_FOLDER, PRESET, QUIET, THREADS, WEIGHTS, count, flag
from .progress import bars
from .sections import command, pass_as, section
from .tables import print_line
from .values import PRECISIONS, models, one_of, paths

if TYPE_CHECKING:
    from ..quantize import QuantizeOptions, QuantizeResult


_OPTIONS = (
    click.option(
        "--least-cosine",
        type=Real(0, 1),
        metavar="X",
        help="Required mean cosine between int8 and float32 features of held-out images. Parts are kept in floating "
        "point until it is reached; if it cannot be reached, nothing is written.  [default: 0.995]",
    ),
    click.option(
        "--floating",
        metavar="NAME",
        shell_complete=one_of(*PRECISIONS),
        help="Precision of the parts in floating point: float32 or bfloat16.  [default: bfloat16]",
    ),
    count("--images", help="Number of images for calibration.  [default: 300]"),
    count("--held-out", help="Number of other images, to measure the fidelity.  [default: 300]"),
    PRESET,
    count("--batch-size", help="Images per call of the network.  [default: 16]"),
    THREADS,
)


@command(short_help="Quantize a model to int8.")
@click.argument("model", shell_complete=models)
@click.argument("sources", nargs=-1, required=True, shell_complete=paths)
@OUTPUT_FOLDER
@flag("--overwrite", help="Replace an existing folder.")
@QUIET
@section("Model", WEIGHTS, MOVING_AVERAGES)
@section("Quantization", pass_as("options", "pnasnet.quantize:QuantizeOptions", *_OPTIONS))
def quantize(
    model: str,
    sources: tuple[str, ...],
    output: Path,
    overwrite: bool,
    weights: str | None,
    options: "QuantizeOptions",
    moving_averages: bool | None,
    quiet: bool,
) -> None:
    """Quantize a model to int8: a third of the size, faster on CPUs with VNNI.

    MODEL is a name from `pnasnet models`, a TF-Hub handle or URL, or the path of a file or folder with weights. SOURCES
    are files, folders, archives or tables of images like those that the model will see. A random sample of the images
    is used for calibration, and another one to measure the result. Every command accepts DIR as a model. Its vectors
    are not comparable with those of MODEL.

    \b
      pnasnet quantize pnasnet_large photos/ -o pnasnet_large_int8
      pnasnet embed photos/ --model pnasnet_large_int8 -o features.parquet
    """
    from ..module.choice import ModelChoice
    from ..quantize import quantize as quantize_model

    show_logs(quiet=quiet)
    choice = ModelChoice(model, weights, moving_averages=moving_averages)
    with bars(quiet, unit="image") as progress:
        result = quantize_model(choice, sources, output, options, overwrite=overwrite, progress=progress)
    _show(result, options)


def _show(result: "QuantizeResult", options: "QuantizeOptions") -> None:
    from ..support.text import duration, percent

    fidelity, chosen = result.fidelity, result.steps[-1]
    kept = f"; in {options.floating}: {', '.join(chosen.floating)}" if chosen.floating else ""
    print_line(f"folder       {result.folder!s}, {result.size / 1e6:.1f} MB")
    print_line(f"calibration  {result.calibration:,} images")
    print_line(f"int8         {percent(chosen.int8_share, 1)} of the multiply-adds{kept}")
    print_line(
        f"fidelity     cosine to float32: mean {fidelity.mean_cosine:.5f}, 1st percentile {fidelity.low_cosine:.4f}, "
        f"least {fidelity.least_cosine:.4f}, on {fidelity.images:,} held-out images"
    )
    if fidelity.same_top1 is not None:
        print_line(f"same class   {percent(fidelity.same_top1, 1)} of these images")
    print_line(f"time         {duration(result.seconds)}")
