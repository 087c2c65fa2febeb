"""Options that several commands share, each declared once and handed over as one value."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .logs import show_logs

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..module import Module

DEFAULT_MODEL = "pnasnet_large"
"""What a command takes that was not told a model."""

Command = Callable[..., None]

_MODEL = (
    click.option(
        "-m",
        "--model",
        default=DEFAULT_MODEL,
        show_default=True,
        metavar="MODEL",
        help="A name that `pnasnet models` lists, a TF-Hub handle or URL, or a file or folder with weights.",
    ),
    click.option(
        "-w",
        "--weights",
        metavar="SOURCE",
        help="Other weights for the model: a published set by its name, or a file or folder of any known kind.",
    ),
    click.option("--engine", default="auto", show_default=True, metavar="NAME", help="openvino, torch, or auto."),
    click.option("--precision", default="float32", show_default=True, metavar="NAME", help="float32 or bfloat16."),
    click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine, if not all."),
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


@dataclass(frozen=True)
class ModelOptions:
    """Which network, with which weights, and what it runs on."""

    model: str
    engine: str
    precision: str
    weights: str | None = None
    threads: int | None = None

    def open(self, *, quiet: bool) -> "Module":
        """Open the module; unless `quiet`, what the library says about its choices goes to standard error."""
        from ..module import Module

        show_logs(quiet=quiet)
        return Module(self.model, self.weights, engine=self.engine, precision=self.precision, threads=self.threads)


def model_options(command: Command) -> Command:
    """Give a command the options of `ModelOptions`, as its argument `model`."""
    return _bundle(command, "model", lambda: ModelOptions, _MODEL)


def extract_options(command: Command) -> Command:
    """Give a command the options of `ExtractOptions`, as its argument `options`."""

    def load() -> "type[ExtractOptions]":
        from ..extract import ExtractOptions

        return ExtractOptions

    return _bundle(command, "options", load, _EXTRACT)


def _bundle(
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
