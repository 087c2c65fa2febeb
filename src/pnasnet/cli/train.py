"""`pnasnet train`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import EXIT_IMAGES_FAILED, stop_on_signal
from .logs import show_logs
from .options import training_options
from .sections import command

if TYPE_CHECKING:
    from ..datasets import LabelledImages
    from ..train.run import Trained
    from ..training.machine import Machine
    from ..training.recipe import Recipe

_SHOWN = 5


def _print_recipes(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from ..train.recipes import NAMES, describe_recipe

    width = max(map(len, NAMES))
    for name in NAMES:
        click.echo(f"{name:{width}}  {describe_recipe(name).splitlines()[0]}")
    context.exit()


@command(short_help="Train a network by a recipe.")
@click.argument("recipe")
@click.argument("training")
@click.argument("validation", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Output folder.")
@click.option("--split", metavar="NAME", help="Which part of TRAINING: train, ...")
@click.option(
    "--validation-split", metavar="NAME", help="Which part of VALIDATION, or, without VALIDATION, of TRAINING."
)
@click.option("--cell", metavar="FILE", help="Take the cell of a network's file, such as a search's best.json.")
@click.option("--cells", type=click.IntRange(1), metavar="N", help="With --cell: how many cells, if not the recipe's.")
@click.option("--filters", type=click.IntRange(1), metavar="F", help="With --cell: how wide, if not as the recipe.")
@click.option("--weights", metavar="WEIGHTS", help="Begin from a file, a folder or a published set, not at random.")
@training_options
@click.option("--list", is_eager=True, is_flag=True, expose_value=False, callback=_print_recipes, help="List recipes.")
def train(
    recipe: str,
    training: str,
    validation: str | None,
    output: Path,
    split: str | None,
    validation_split: str | None,
    cell: str | None,
    cells: int | None,
    filters: int | None,
    weights: str | None,
    machine: "Machine",
) -> None:
    """Train a network, from scratch or from given weights, by a recipe that comes with the package.

    TRAINING and VALIDATION are folders with a folder of images for each class, Parquet, Hugging Face data sets,
    WebDataset tars, or ILSVRC-2012; they need as many classes as the recipe's network. Images that cannot be read are
    left out and named, and the exit code is then 3.

    DIR gets model.safetensors, with averaged weights, once all is done. Interrupted or killed, the same command goes on
    from the last epoch that was completed.

    \b
      pnasnet train --list
      pnasnet train cifar10_short train.parquet test.parquet -o runs/short
      pnasnet train imagenet_mobile imagenet/ --split train --validation-split val -o runs/mobile
      pnasnet train cifar10 train.parquet test.parquet -o runs/found --cell best.json --filters 36
      pnasnet train pnasnet_tiny train.parquet test.parquet -o runs/longer --weights runs/first
    """
    from ..training.fit import own_rank

    show_logs(quiet=not machine.progress or own_rank() > 0)
    chosen, name = _choose(recipe, cell, cells, filters)
    from ..train.run import begin_from, finished
    from ..train.run import train as train_recipe

    first = None
    if weights is not None:
        chosen, first = begin_from(chosen, weights)
    if path := finished(chosen, output):
        click.echo(f"{path}: this training is finished; there is nothing to do")
        return
    data, seen = _open(training, split), _open_validation(training, validation, validation_split)
    with stop_on_signal() as stop:
        check = partial(stop.check, "the same command goes on from the last whole epoch")
        trained = train_recipe(chosen, name, data, seen, output, machine, first=first, check=check)
    if trained.fitted.rank > 0:
        return  # Lightning would take another exit code for a failure, and kill the first process
    _print(trained)
    if trained.skipped:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _choose(recipe: str, cell: str | None, cells: int | None, filters: int | None) -> "tuple[Recipe, str]":
    """Return the recipe, and what the model will be called."""
    from ..architecture.network_file import read_network
    from ..train.recipes import find_recipe

    chosen = find_recipe(recipe)
    if cell is None:
        if cells or filters:
            raise click.UsageError("--cells and --filters go with --cell; without it, the recipe says them.")
        return chosen, recipe
    network = read_network(Path(cell))
    return chosen.with_cell(network.spec.cell, cells, filters), network.name


def _open(source: str, split: str | None) -> "LabelledImages":
    from ..datasets import open_dataset

    return open_dataset(source, split=split)


def _open_validation(training: str, validation: str | None, split: str | None) -> "LabelledImages | None":
    if validation is None and split is None:
        return None
    return _open(validation or training, split)


def _print(trained: "Trained") -> None:
    for reason in list(trained.skipped.values())[:_SHOWN]:
        click.echo(f"skipped: {reason}", err=True)
    if trained.skipped:
        click.echo(
            f"{len(trained.skipped):,} of {trained.pictures:,} images could not be read and were left out; "
            f"{trained.path.parent / 'skipped.json'} names them",
            err=True,
        )
    top1: Any = trained.validation_top1
    validated = "" if top1 is None else f", validation top-1 {top1:.2%}"
    click.echo(f"{trained.path}: {trained.epochs} epochs{validated}, {trained.seconds:,.0f} s")
