"""`pnasnet finetune`."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..support.contexts import contextmanager
from ..support.urls import redact
from .errors import EXIT_IMAGES_FAILED, checking_usage
from .logs import show_logs
from .numbers import Real, Whole
from .options import IMAGE_COLUMN, OUTPUT_FOLDER, QUIET, count, extract_options, flag, machine_options, model_options
from .printing import say
from .progress import stoppable_bars
from .sections import Command, command, given_options, pass_as, section
from .values import paths

if TYPE_CHECKING:
    from ..extract import ExtractOptions
    from ..finetune import FinetuneOptions, FinetuneResult
    from ..module.choice import ModelChoice
    from ..training.machine import Machine

_SHOWN = 5
"""Limit of the unreadable images that are listed."""
_FULL = "Whole network, with --full"
_HARDWARE = "Hardware, with --full"


def _checking_full(command: Command) -> Command:
    """Refuse options that need --full, before their values are checked."""

    @wraps(command)
    def checked(**arguments: Any) -> None:
        for option in () if arguments["full"] else given_options(_FULL, _HARDWARE):
            raise click.UsageError(f"{option} needs --full: it has no effect on the classifier alone")
        command(**arguments)

    return checked


@command()
@_checking_full
@click.argument("data", shell_complete=paths)
@OUTPUT_FOLDER
@flag("--overwrite", help="Replace a finished model in DIR; its split and features are kept.")
@QUIET
@section(
    "Data",
    click.option("--split", metavar="NAME", help="Split of DATA to use, such as train, if it has several."),
    IMAGE_COLUMN,
    click.option(
        "--validation",
        type=Real(),
        metavar="FRACTION",
        help="Fraction of each class used for model selection.  [default: 0.15]",
    ),
    click.option(
        "--test",
        type=Real(),
        metavar="FRACTION",
        help="Fraction of each class used to measure the result.  [default: 0.15]",
    ),
    flag("--balanced", help="Give all classes the same weight, regardless of size."),
    click.option("--seed", type=Whole(0), metavar="N", help="Seed of a new split and of all randomness.  [default: 0]"),
)
@model_options
@extract_options
@section(
    _FULL,
    flag("--full", help="Train the whole network after the classifier."),
    pass_as(
        "tuning",
        "pnasnet.finetune:FinetuneOptions",
        count("--epochs", help="Train for at most N epochs.  [default: 20]"),
        count("--patience", help="Stop after N epochs without a lower validation loss.  [default: 5]"),
        click.option(
            "--learning-rate",
            type=Real(),
            metavar="RATE",
            help="Highest learning rate, used for the classifier.  [default: 0.01]",
        ),
        click.option(
            "--layer-decay",
            type=Real(),
            metavar="X",
            help="Learning rate of a cell, relative to the next cell's.  [default: 0.8]",
        ),
        click.option("--training-batch", type=Whole(2), metavar="N", help="Images per step.  [default: 32]"),
        flag("--train-batch-norm", help="Let batch normalization adapt to the images."),
    ),
)
@section(_HARDWARE, machine_options)
def finetune(
    data: str,
    output: Path,
    split: str | None,
    image_column: str | None,
    model: "ModelChoice",
    tuning: "FinetuneOptions",
    options: "ExtractOptions",
    machine: "Machine",
    overwrite: bool,
    quiet: bool,
) -> None:
    """Train a model on the classes of your own images.

    DATA is a folder with a subfolder of images for each class, Parquet files, a Hugging Face dataset or WebDataset
    tars. Its images are split into training, validation and test, their features are computed once, and a classifier is
    trained on them in seconds. With --full, the whole network is then trained, which is slow on a CPU.

    DIR becomes a model that every command accepts, with a model card and a report. If a run is interrupted, repeat the
    command to resume it. Images that cannot be read are skipped and listed, and the exit code is then 3.

    \b
      pnasnet finetune flowers/ -o model/
      pnasnet finetune flowers/ -o model/ --full --overwrite
    """
    from ..datasets import open_dataset
    from ..finetune import finetune as run

    if tuning.full:
        with checking_usage():
            machine.check_batch(tuning.training_batch, freeze_batch_norm=not tuning.train_batch_norm)
        from ..training.fit import own_rank

        quiet = quiet or own_rank() > 0  # the first process prints
    images = open_dataset(data, split=split, image_column=image_column)
    show_logs(quiet=quiet)
    with _ending_if_finished(), stoppable_bars(quiet, "image", "repeat the command to resume") as progress:
        result = run(
            model.model, images, output, tuning,
            weights=model.weights, extract=options, engine=model.engine,
            machine=replace(machine, precision=model.engine.precision or "float32"),
            overwrite=overwrite, progress=progress, source=redact(data),
            command=shlex.join(["pnasnet", *map(redact, sys.argv[1:])]),
        )  # fmt: skip
    if result.rank > 0:
        return  # Lightning takes any other exit code for a failure, and kills the first process
    _print(result, output)
    if result.skipped:
        raise SystemExit(EXIT_IMAGES_FAILED)


@contextmanager
def _ending_if_finished() -> Iterator[None]:
    """Within the block, exit without an error if the folder holds the finished model of the same run."""
    from ..finetune import FinishedError

    try:
        yield
    except FinishedError as finished:
        say(finished)
        raise SystemExit(EXIT_IMAGES_FAILED if finished.skipped else 0) from None


def _print(result: "FinetuneResult", folder: Path) -> None:
    for line in result.skipped[:_SHOWN]:
        say(f"skipped: {line}", err=True)
    if len(result.skipped) > _SHOWN:
        say(f"skipped: {len(result.skipped) - _SHOWN:,} more; metrics.json lists all", err=True)
    rate = result.evaluation.top1
    low, high = rate.interval
    say(
        f"{folder}: {len(result.classes)} classes, top-1 {rate.value:.2%} (95 % interval {low:.2%} to {high:.2%}) on "
        f"{rate.count:,} {result.part} images, in {sum(result.seconds.values()):.1f} s; see {folder / 'report.html'}"
    )
