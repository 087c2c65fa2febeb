"""`pnasnet finetune`."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..support.text import clean
from ..support.urls import redact
from .errors import EXIT_IMAGES_FAILED
from .logs import show_logs
from .options import Command, bundle, extract_options, machine_options, model_options
from .progress import stoppable_bars
from .sections import command

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..finetune import FinetuneOptions, FinetuneResult
    from ..module.choice import ModelChoice
    from ..training.machine import Machine

_SHOWN = 5
"""Limit of unreadable pictures that are listed."""


class _WithFull(click.Option):
    """An option that has no effect without --full, and is then refused."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(*names, **{**settings, "help": f"With --full: {settings['help']}"})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        given = ctx.get_parameter_source(self.name or "") is ParameterSource.COMMANDLINE
        if given and not ctx.params["full"]:  # eager, so parsed before this
            raise click.UsageError(f"{self.opts[0]} needs --full: it has no effect on the classifier alone.")
        return super().process_value(ctx, value)


_with_full = partial(click.option, cls=_WithFull)
_TUNING = (
    click.option("--validation", type=float, metavar="SHARE", help="Share of each class for choices.  [default: 0.15]"),
    click.option("--test", type=float, metavar="SHARE", help="Share of each class for the figures.  [default: 0.15]"),
    click.option("--balanced", is_flag=True, help="Give all classes the same weight, whatever their sizes."),
    click.option("--seed", type=int, metavar="N", help="Seed of a new split and of all randomness.  [default: 0]"),
    click.option("--full", is_flag=True, is_eager=True, help="Train the whole network after the classifier."),
    _with_full("--epochs", type=click.IntRange(1), metavar="N", help="Limit of epochs.  [default: 20]"),
    _with_full(
        "--patience", type=click.IntRange(1), metavar="N", help="Stop after N epochs without progress.  [default: 5]"
    ),
    _with_full("--learning-rate", type=float, metavar="RATE", help="Peak rate of the last layer.  [default: 0.01]"),
    _with_full("--layer-decay", type=float, metavar="X", help="Rate of a cell to that of the next.  [default: 0.8]"),
    _with_full("--training-batch", type=click.IntRange(2), metavar="N", help="Pictures per step.  [default: 32]"),
    _with_full("--train-batch-norm", is_flag=True, help="Let batch normalization adapt to the pictures."),
)


def finetune_options(command: Command) -> Command:
    """Give a command the options of `FinetuneOptions`, as its argument `tuning`."""

    def load() -> "type[FinetuneOptions]":
        from ..finetune import FinetuneOptions

        return FinetuneOptions

    return bundle(command, "tuning", load, _TUNING)


@command()
@click.argument("data")
@click.option("-o", "--output", required=True, metavar="DIR", help="Write the model to this folder.")
@click.option("--split", metavar="NAME", help="Split of the data, such as train, if it has several.")
@model_options
@finetune_options
@extract_options
@machine_options(_WithFull)
@click.option("--overwrite", is_flag=True, help="Replace a finished model in DIR. Split and features are kept.")
@click.option("-q", "--quiet", is_flag=True, help="Print no progress and no notes.")
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
    """Train a model on the classes of your own pictures.

    DATA is a folder with a subfolder of pictures for each class, Parquet, a Hugging Face dataset or WebDataset tars.
    Its pictures are split into training, validation and test, their features are computed once, and a classifier is
    trained on them in seconds. With --full, the whole network is then trained, which takes long on a CPU.

    DIR becomes a model that every command accepts, with a card and a report. Repeat the command to resume an
    interrupted run. Pictures that cannot be read are skipped and listed, and the exit code is then 3.

    \b
      pnasnet finetune flowers/ -o model/ -m pnasnet_tiny
      pnasnet finetune flowers/ -o model/ -m pnasnet_tiny --full --overwrite
    """
    from ..datasets import open_dataset
    from ..finetune import finetune as run

    quiet = quiet or (tuning.full and _is_other_rank())
    pictures = open_dataset(data, split=split)
    show_logs(quiet=quiet)
    with _ending_if_finished(), stoppable_bars(quiet, "picture", "repeat the command to resume") as progress:
        result = run(
            model.model,
            pictures,
            Path(output),
            tuning,
            weights=model.weights,
            extract=options,
            engine=model.engine,
            machine=replace(machine, precision=model.engine.precision),
            overwrite=overwrite,
            progress=progress,
            source=redact(data),
            command=shlex.join(["pnasnet", *map(redact, sys.argv[1:])]),
        )
    if result.rank > 0:
        return  # Lightning would take another exit code for a failure, and kill the first process
    _print(result, Path(output))
    if result.skipped:
        raise SystemExit(EXIT_IMAGES_FAILED)


@contextmanager
def _ending_if_finished() -> Iterator[None]:
    """End the command without an error if the folder holds the finished model of the same run."""
    from ..finetune import FinishedError

    try:
        yield
    except FinishedError as finished:
        click.echo(finished)
        raise SystemExit(EXIT_IMAGES_FAILED if finished.skipped else 0) from None


def _is_other_rank() -> bool:
    """Whether this process trains for a further device, and the first process prints."""
    from ..training.fit import own_rank

    return own_rank() > 0


def _print(result: "FinetuneResult", folder: Path) -> None:
    for line in result.skipped[:_SHOWN]:
        click.echo(f"skipped: {clean(line)}", err=True)
    if len(result.skipped) > _SHOWN:
        click.echo(f"skipped: {len(result.skipped) - _SHOWN:,} more; metrics.json lists all", err=True)
    rate = result.evaluation.top1
    low, high = rate.interval
    click.echo(
        f"{folder}: {len(result.classes)} classes, top-1 {rate.value:.2%} (95 % interval {low:.2%} to {high:.2%}) on "
        f"{rate.count:,} {result.part} pictures, in {sum(result.seconds.values()):.1f} s; see {folder / 'report.html'}"
    )
