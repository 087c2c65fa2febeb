"""Options that several commands share, declared once, in their section. Groups of options are passed as one value."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .numbers import Whole
from .sections import pass_as, section
from .values import (
    ACCELERATORS,
    DEFAULT_MODEL,
    ENGINES,
    LOGGERS,
    PRECISIONS,
    PRESETS,
    endpoints,
    folders,
    models,
    one_of,
    weights,
)

if TYPE_CHECKING:
    from ..module.choice import ModelChoice

flag = partial(click.option, is_flag=True)
"""An option without a value."""
count = partial(click.option, type=Whole(), metavar="N")
"""An option whose value is a number from 1 up."""


def _once(_: click.Context, __: click.Parameter, values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise click.BadParameter(f"{value} is given twice.")
    return values


several = partial(click.option, multiple=True, callback=_once)
"""An option that may be repeated with different values."""

FOLDER = click.Path(exists=True, file_okay=False)
"""The type of an option that names an existing folder."""

OUTPUT_FOLDER = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    shell_complete=folders,
    help="Output folder.",
)
ENDPOINTS = several(
    "--endpoint",
    "endpoints",
    metavar="NAME",
    shell_complete=endpoints,
    help="Output of the network: global_pool, Logits, Predictions, Cell_3, ... May be repeated.  "
    "[default: global_pool]",
)
IMAGE_COLUMN = click.option(
    "--image-column",
    metavar="NAME",
    help="Column of images in Parquet files and Hugging Face datasets.  [default: image or img]",
)
QUIET = flag("-q", "--quiet", help="Print no progress and no notes.")


def _choose_model(
    model: str | None = None,
    weights: str | None = None,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    moving_averages: bool | None = None,
) -> "ModelChoice":
    from ..engines import EngineOptions
    from ..module.choice import ModelChoice

    if model is None:  # the weights state their network
        model, weights = weights or DEFAULT_MODEL, None
    return ModelChoice(model, weights, EngineOptions(engine, precision, threads), moving_averages)


_MODEL = click.option(
    "-m",
    "--model",
    metavar="MODEL",
    shell_complete=models,
    help="Name from `pnasnet models`, TF-Hub handle or URL, or path of a file or folder with weights.  "
    f"[default: {DEFAULT_MODEL}, or the network of --weights]",
)
WEIGHTS = click.option(
    "-w",
    "--weights",
    metavar="SOURCE",
    shell_complete=weights,
    help="Other weights for the model: the name of a published set, or the path of a file or folder.",
)
ENGINE = click.option(
    "--engine",
    metavar="NAME",
    shell_complete=one_of(*ENGINES),
    help="Library that runs the network: openvino, torch, or auto (torch if there is a CUDA GPU).  [default: auto]",
)
PRECISION = click.option(
    "--precision",
    metavar="NAME",
    shell_complete=one_of(*PRECISIONS, "float16"),
    help="Arithmetic: float32, bfloat16, or float16 on GPUs.  [default: float32, or int8 for a quantized model]",
)
THREADS = count("--threads", help="Threads of the engine.  [default: one per processor]")
MOVING_AVERAGES = click.option(
    "--moving-averages/--no-moving-averages",
    default=None,
    help="If the weights hold both, use the moving averages of the variables, or their last values.  "
    "[default: as in the published evaluation, else the averages]",
)
PRESET = click.option(
    "--preset",
    metavar="NAME",
    shell_complete=one_of(*PRESETS),
    help="Preprocessing: hub, slim or timm.  [default: that of the weights]",
)
_RUNNING = (
    WEIGHTS,
    ENGINE,
    PRECISION,
    THREADS,
    MOVING_AVERAGES,
)

model_options = section("Model", pass_as("model", _choose_model, _MODEL, *_RUNNING))
"""--model and the other options of a `ModelChoice`, as the argument `model`."""
model_argument = section(
    "Model", pass_as("model", _choose_model, click.argument("model", shell_complete=models), *_RUNNING)
)
"""The same for commands whose model is an argument."""

extract_options = section(
    "Images",
    pass_as(
        "options",
        "pnasnet.extract:ExtractOptions",
        PRESET,
        click.option(
            "--exif/--no-exif", default=None, help="Apply the EXIF orientation.  [default: only if the preset does]"
        ),
        count("--batch-size", help="Images per call of the network.  [default: 8]"),
        count("--decoders", help="Threads that decode images.  [default: one per processor]"),
    ),
)
"""The options of `ExtractOptions`, as the argument `options`."""


class _Devices(click.ParamType):  # type: ignore[type-arg] # generic in new releases only
    """A number of devices, or `auto`."""

    name = "devices"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return "auto" if value == "auto" else int(Whole().convert(value, param, ctx))


machine_options = pass_as(
    "machine",
    "pnasnet.training.machine:Machine",
    click.option(
        "--accelerator",
        metavar="NAME",
        shell_complete=one_of(*ACCELERATORS),
        help="cpu, gpu or auto.  [default: auto]",
    ),
    click.option(
        "--devices",
        type=_Devices(),
        metavar="N",
        shell_complete=one_of("auto"),
        help="Number of GPUs or CPU processes that share each batch, or auto.  [default: auto]",
    ),
    count("--nodes", help="Machines that share each batch. Run the command on each.  [default: 1]"),
    click.option(
        "--channels-last/--channels-first", default=None, help="Memory layout of activations.  [default: channels last]"
    ),
    click.option("--compile", is_flag=True, default=None, help="Run steps through torch.compile."),
    click.option(
        "--checkpoint-cells",
        is_flag=True,
        default=None,
        help="Recompute cells in the backward pass: less memory, a third more time.",
    ),
    count("--parts", help="Compute each batch in N parts: less memory.  [default: 1]"),
    click.option(
        "--workers",
        type=Whole(0),
        metavar="N",
        help="Processes of each device that decode images; 0 for none.  [default: one per processor]",
    ),
    several(
        "--logger",
        "loggers",
        metavar="NAME",
        shell_complete=one_of(*LOGGERS),
        help="Also log to tensorboard or wandb. May be repeated.",
    ),
)
"""The options of `Machine` that every training has, as the argument `machine`."""
