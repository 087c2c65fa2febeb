"""Options that several commands share: each is declared once, in its section, and passed on as one value."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from .sections import Decorator, section

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..training.machine import Machine

DEFAULT_MODEL = "pnasnet_small"
"""The model of commands that were given neither --model nor --weights."""

Command = Callable[..., None]

_MODEL = click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="Name from `pnasnet models`, TF-Hub handle or URL, or path of a file or folder with weights.  "
    f"[default: {DEFAULT_MODEL}, or the network of --weights]",
)
MOVING_AVERAGES = click.option(
    "--moving-averages/--no-moving-averages",
    default=None,
    help="Use the moving averages of the variables, or their last values, if the weights hold both.  "
    "[default: as the published evaluation did, else the averages]",
)
_RUNNING = (
    click.option(
        "-w",
        "--weights",
        metavar="SOURCE",
        help="Other weights: the name of a published set, or the path of a file or folder. Without --model, their own "
        "network is used.",
    ),
    click.option(
        "--engine",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Library that runs the network: openvino, torch, or auto, which is torch if there is a CUDA GPU.",
    ),
    click.option(
        "--precision", default="float32", show_default=True, metavar="NAME", help="Arithmetic: float32 or bfloat16."
    ),
    click.option(
        "--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine.  [default: one per processor]"
    ),
    MOVING_AVERAGES,
)
_EXTRACT = (
    click.option("--preset", metavar="NAME", help="Preprocessing: hub, slim or timm.  [default: that of the weights]"),
    click.option(
        "--exif/--no-exif", default=None, help="Apply the EXIF orientation.  [default: only if the preset does]"
    ),
    click.option(
        "--batch-size", type=click.IntRange(1), metavar="N", help="Images per call of the network.  [default: 8]"
    ),
    click.option(
        "--decoders", type=click.IntRange(1), metavar="N", help="Threads that decode.  [default: one per processor]"
    ),
)


class _Devices(click.ParamType):  # type: ignore[type-arg] # generic in new releases only
    """A number of devices, or `auto`."""

    name = "devices"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "auto":
            return "auto"
        number: int = click.IntRange(1).convert(value, param, ctx)
        return number


def _machine(kind: type[click.Option]) -> tuple[Decorator, ...]:
    option = partial(click.option, cls=kind)
    return (
        option("--accelerator", metavar="NAME", help="cpu, gpu or auto.  [default: auto]"),
        option(
            "--devices",
            type=_Devices(),
            metavar="N",
            help="GPUs, or CPU processes, that share each batch; a number or auto.  [default: auto]",
        ),
        option(
            "--nodes",
            type=click.IntRange(1),
            metavar="N",
            help="Machines that share each batch; each runs this command.  [default: 1]",
        ),
        option("--channels-last/--channels-first", default=None, help="Memory layout.  [default: channels last]"),
        option("--compile", is_flag=True, default=None, help="Run steps through torch.compile."),
        option(
            "--checkpoint-cells",
            is_flag=True,
            default=None,
            help="Recompute cells in the backward pass: less memory, a third more time.",
        ),
        option(
            "--parts",
            type=click.IntRange(1),
            metavar="N",
            help="Compute each batch in N parts: less memory.  [default: 1]",
        ),
        option(
            "--workers",
            type=click.IntRange(0),
            metavar="N",
            help="Processes that decode images, for each device; 0 decodes in the training process.  "
            "[default: processors]",
        ),
        option(
            "--logger",
            "loggers",
            multiple=True,
            metavar="NAME",
            help="Also log to tensorboard or wandb. May be repeated.",
        ),
    )


_PRECISION = click.option(
    "--precision",
    metavar="NAME",
    help="Arithmetic: float32 or bfloat16; weights stay in float32.  [default: float32]",
)
_REPORTING: tuple[Decorator, ...] = (
    click.option(
        "--validate-every", type=click.IntRange(1), metavar="N", help="Validate every N epochs and after the last."
    ),
)


def model_options(command: Command) -> Command:
    """Give a command the options of `ModelChoice`, as its argument `model`, in the section "Model"."""
    return _with_model(command, _MODEL)


def model_argument(command: Command) -> Command:
    """Do the same for a command with the model as an argument."""
    return _with_model(command, click.argument("model"))


def _with_model(command: Command, model: Decorator) -> Command:
    @wraps(command)
    def bundled(
        model: str | None,
        weights: str | None,
        engine: str,
        precision: str,
        threads: int | None,
        moving_averages: bool | None,
        **arguments: Any,
    ) -> None:
        from ..engines import EngineOptions
        from ..module.choice import ModelChoice

        if model is None:  # weights say which network they belong to
            model, weights = weights or DEFAULT_MODEL, None
        options = EngineOptions(engine, precision, threads)
        command(model=ModelChoice(model, weights, options, moving_averages), **arguments)

    return section("Model", model, *_RUNNING)(bundled)


def extract_options(command: Command) -> Command:
    """Give a command the options of `ExtractOptions`, as its argument `options`, in the section "Photos"."""

    def load() -> "type[ExtractOptions]":
        from ..extract import ExtractOptions

        return ExtractOptions

    return bundle(command, "options", load, (section("Photos", *_EXTRACT),))


def training_options(command: Command) -> Command:
    """Give a command all the options of `Machine`, as its argument `machine`."""
    hardware = section("Hardware", *_machine(click.Option), _PRECISION)
    return bundle(command, "machine", _load_machine, (hardware, *_REPORTING))


def machine_options(kind: type[click.Option]) -> Callable[[Command], Command]:
    """Give a command with its own --precision and --quiet the other options of `Machine`, as its argument `machine`."""
    options = section("Hardware of --full", *_machine(kind))
    return lambda command: bundle(command, "machine", _load_machine, (options,))


def _load_machine() -> "type[Machine]":
    from ..training.machine import Machine

    return Machine


def bundle(command: Command, name: str, load: Callable[[], type[Any]], options: tuple[Decorator, ...]) -> Command:
    """Declare `options`, and pass their values to the command as one value of the class that `load` returns."""

    @wraps(command)
    def bundled(**arguments: Any) -> None:
        kind = load()
        own = {field.name: arguments.pop(field.name) for field in fields(kind) if field.name in arguments}
        given = {key: value for key, value in own.items() if value is not None}  # the class has the defaults
        command(**{name: kind(**given)}, **arguments)

    decorated: Command = bundled
    for option in reversed(options):
        decorated = option(decorated)
    return decorated
