"""Options that several commands share, each declared once and handed over as one value."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..training.machine import Machine

DEFAULT_MODEL = "pnasnet_large"
"""What a command takes that was not told a model."""

Command = Callable[..., None]

_MODEL = click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="A name that `pnasnet models` lists, a TF-Hub handle or URL, or a file or folder with weights.  "
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
        help="Other weights: the name of a published set, or a file or folder in any known format. Without --model, "
        "the weights' own network is used.",
    ),
    click.option("--engine", default="auto", show_default=True, metavar="NAME", help="openvino, torch, or auto."),
    click.option("--precision", default="float32", show_default=True, metavar="NAME", help="float32 or bfloat16."),
    click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine, if not all."),
    MOVING_AVERAGES,
)
_EXTRACT = (
    click.option(
        "--preset", metavar="NAME", help="Preprocessing: hub, slim or timm.  [default: what the weights ask for]"
    ),
    click.option(
        "--exif/--no-exif", default=None, help="Turn photos as their EXIF says.  [default: as the preset does]"
    ),
    click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images that the engine gets at a time."),
    click.option("--decoders", type=click.IntRange(1), metavar="N", help="Threads that decode.  [default: processors]"),
)


class _Devices(click.ParamType):  # type: ignore[type-arg] # generic in new releases only
    """A number of devices, or `auto`."""

    name = "devices"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "auto":
            return "auto"
        number: int = click.IntRange(1).convert(value, param, ctx)
        return number


def _machine(kind: type[click.Option]) -> tuple[Callable[[Command], Command], ...]:
    option = partial(click.option, cls=kind)
    return (
        option("--accelerator", metavar="NAME", help="cpu, gpu or auto.  [default: auto]"),
        option(
            "--devices", type=_Devices(), metavar="N", help="GPUs, or CPU processes, that share each batch; or auto."
        ),
        option("--nodes", type=click.IntRange(1), metavar="N", help="Machines, each of which runs the same command."),
        option("--channels-last/--channels-first", default=None, help="Memory layout.  [default: channels last]"),
        option("--compile", is_flag=True, default=None, help="Run steps through torch.compile."),
        option(
            "--checkpoint-cells", is_flag=True, default=None, help="Recompute cells: less memory, a third more time."
        ),
        option("--parts", type=click.IntRange(1), metavar="N", help="Take a batch in N parts: less memory."),
        option("--workers", type=click.IntRange(0), metavar="N", help="Processes that decode, for each device."),
        option(
            "--logger",
            "loggers",
            multiple=True,
            metavar="NAME",
            help="Send the figures to tensorboard or wandb, too; more than one --logger may be given.",
        ),
    )


_TRAINING: tuple[Callable[[Command], Command], ...] = (
    *_machine(click.Option),
    click.option("--precision", metavar="NAME", help="float32 or bfloat16; weights stay float32.  [default: float32]"),
    click.option(
        "--validate-every", type=click.IntRange(1), metavar="N", help="Validate every N epochs, and at the end."
    ),
    click.option(
        "-q", "--quiet", "progress", flag_value=False, default=None, help="No progress, and no word about the choices."
    ),
)


def model_options(command: Command) -> Command:
    """Give a command the options of `ModelChoice`, as its argument `model`."""
    return _with_model(command, _MODEL)


def model_argument(command: Command) -> Command:
    """Do the same for a command whose first argument is the model."""
    return _with_model(command, click.argument("model"))


def _with_model(command: Command, model: Callable[[Command], Command]) -> Command:
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

    decorated: Command = bundled
    for option in reversed((model, *_RUNNING)):
        decorated = option(decorated)
    return decorated


def extract_options(command: Command) -> Command:
    """Give a command the options of `ExtractOptions`, as its argument `options`."""

    def load() -> "type[ExtractOptions]":
        from ..extract import ExtractOptions

        return ExtractOptions

    return bundle(command, "options", load, _EXTRACT)


def training_options(command: Command) -> Command:
    """Give a command all the options of `Machine`, as its argument `machine`."""
    return bundle(command, "machine", _load_machine, _TRAINING)


def machine_options(kind: type[click.Option]) -> Callable[[Command], Command]:
    """Give a command that has a precision and a quiet of its own the other options of `Machine`, as `machine`."""
    return lambda command: bundle(command, "machine", _load_machine, _machine(kind))


def _load_machine() -> "type[Machine]":
    from ..training.machine import Machine

    return Machine


def bundle(
    command: Command, name: str, load: Callable[[], type[Any]], options: tuple[Callable[[Command], Command], ...]
) -> Command:
    """Declare `options`, and hand their values to the command as one value of the class that `load` returns."""

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
