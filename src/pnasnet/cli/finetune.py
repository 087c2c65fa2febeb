"""`pnasnet finetune`."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import OutputError
from .errors import EXIT_IMAGES_FAILED, needing, stop_on_signal
from .logs import show_logs
from .options import Command, bundle, extract_options, machine_options, model_options
from .sections import command

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..finetune import FinetuneOptions, Listener, Outcome
    from ..module.choice import ModelChoice
    from ..training.machine import Machine


class _WithFull(click.Option):
    """An option that does nothing without --full: it says so, and is refused."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(*names, **{**settings, "help": f"With --full: {settings['help']}"})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        given = ctx.get_parameter_source(self.name or "") is ParameterSource.COMMANDLINE
        if given and not ctx.params["full"]:  # which is eager, and so known before
            raise click.UsageError(f"{self.opts[0]} goes with --full; the classifier alone does not ask for it.")
        return super().process_value(ctx, value)


_with_full = partial(click.option, cls=_WithFull)
_TUNING = (
    click.option("--validation", type=float, metavar="SHARE", help="Of each class, to choose by.  [default: 0.15]"),
    click.option("--test", type=float, metavar="SHARE", help="Of each class, to measure by.  [default: 0.15]"),
    click.option("--balanced", is_flag=True, help="Let each class weigh the same, however many pictures it has."),
    click.option("--seed", type=int, metavar="N", help="Decides a new split, and all randomness.  [default: 0]"),
    click.option("--full", is_flag=True, is_eager=True, help="Train the whole network after the classifier."),
    _with_full("--epochs", type=click.IntRange(1), metavar="N", help="How many at most.  [default: 20]"),
    _with_full(
        "--patience", type=click.IntRange(1), metavar="N", help="Epochs without improvement that end it.  [default: 5]"
    ),
    _with_full("--learning-rate", type=float, metavar="RATE", help="Of the last layer, at its peak.  [default: 0.01]"),
    _with_full("--layer-decay", type=float, metavar="X", help="Factor from cell to earlier cell.  [default: 0.8]"),
    _with_full("--training-batch", type=click.IntRange(2), metavar="N", help="Pictures a step.  [default: 32]"),
    _with_full("--train-batch-norm", is_flag=True, help="Let batch normalization adapt to the pictures."),
)


def finetune_options(command: Command) -> Command:
    """Give a command the options of `FinetuneOptions`, as its argument `tuning`."""

    def load() -> "type[FinetuneOptions]":
        with needing("train", "fine-tuning"):
            from ..finetune import FinetuneOptions

        return FinetuneOptions

    return bundle(command, "tuning", load, _TUNING)


@command()
@click.argument("data")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write: it becomes the model.")
@click.option("--split", metavar="NAME", help="Which part of the data, where it has parts: train, validation, ...")
@model_options
@finetune_options
@extract_options
@machine_options(_WithFull)
@click.option("--overwrite", is_flag=True, help="Replace a finished model in DIR; its split and features are kept.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bars and no word about choices.")
def finetune(
    data: str,
    output: str,
    split: str | None,
    model: "ModelChoice",
    tuning: "FinetuneOptions",
    options: "ExtractOptions",
    machine: "Machine",
    overwrite: bool,
    quiet: bool,
) -> None:
    """Teach a model the classes of your own pictures.

    DATA is a folder with a folder of pictures for each class, Parquet, a Hugging Face data set or WebDataset tars. Its
    pictures are split once into training, validation and test; their features are extracted once; a classifier is
    trained on them in seconds. With --full, the whole network is trained from there, which takes a GPU or patience.

    DIR becomes a model that every command takes: model.safetensors, with README.md, metrics.json and report.html.
    A run that was stopped goes on with the same command. Pictures that cannot be read are skipped and listed, and the
    exit code is then 3.

    \b
      pnasnet finetune flowers/ -o model/ -m pnasnet_tiny
      pnasnet finetune flowers/ -o model/ -m pnasnet_tiny --full --overwrite
      pnasnet classify photo.jpg --model model/
    """
    from ..datasets import open_dataset
    from ..finetune import MODEL
    from ..finetune import finetune as run
    from ..training.fit import own_rank

    quiet = quiet or own_rank() > 0
    folder = Path(output)
    if (folder / MODEL).exists() and not overwrite:
        raise OutputError(f"{folder} holds a finished model: name another folder, or --overwrite it")
    pictures = open_dataset(data, split=split)
    show_logs(quiet=quiet)
    with stop_on_signal() as stop:
        outcome = run(
            model.model,
            pictures,
            folder,
            tuning,
            weights=model.weights,
            extract=options,
            engine=model.engine,
            machine=replace(machine, precision=model.engine.precision),
            listener=_listener(quiet),
            check=partial(stop.check, "the same command goes on from where it was"),
            source=data,
            command=shlex.join(["pnasnet", *sys.argv[1:]]),
        )
    if outcome.rank > 0:
        return  # Lightning would take another exit code for a failure, and kill the first process
    _print(outcome, folder)
    if outcome.skipped:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _listener(quiet: bool) -> "Listener":
    """Return what shows notes and progress on standard error."""
    from tqdm import tqdm

    from ..finetune import Listener

    class Shown(Listener):
        def note(self, text: str) -> None:
            if not quiet:
                click.echo(text, err=True)

        def extracting(self, total: int) -> Callable[[int], None]:
            # Disabled by None: where standard error is no terminal. The delay: not before the first batch.
            bar = tqdm(total=total, desc="features", unit="image", disable=quiet or None, delay=1e-9)

            def advance(rows: int) -> None:
                bar.update(rows)
                if bar.n >= total:
                    bar.close()

            return advance

    return Shown()


def _print(outcome: "Outcome", folder: Path) -> None:
    for line in outcome.skipped[:5]:
        click.echo(f"skipped: {line}", err=True)
    if len(outcome.skipped) > 5:
        click.echo(f"skipped: {len(outcome.skipped) - 5:,} more; metrics.json lists all", err=True)
    rate = outcome.test.top(1)
    low, high = rate.interval
    click.echo(
        f"{folder}: {len(outcome.classes)} classes, top-1 {rate.value:.2%} (95 % interval {low:.2%} to {high:.2%}) on "
        f"{rate.count:,} {outcome.test_part} pictures, "
        f"in {sum(outcome.seconds.values()):.1f} s; see {folder / 'report.html'}"
    )
