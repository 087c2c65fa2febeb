"""`pnasnet train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import EXIT_IMAGES_FAILED, checking_usage
from .logs import show_logs
from .numbers import Real, Whole
from .options import IMAGE_COLUMN, OUTPUT_FOLDER, QUIET, count, machine_options
from .printing import say
from .progress import stoppable_bars
from .sections import command, section
from .tables import print_line
from .values import PRECISIONS, one_of, paths, recipes, weights

if TYPE_CHECKING:
    from ..datasets import LabelledImages
    from ..train.run import TrainResult
    from ..training.machine import Machine
    from ..training.recipe import Recipe

_SHOWN = 5


def _print_recipes(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from ..train.recipes import NAMES, describe_recipe

    width = max(map(len, NAMES))
    for name in NAMES:
        print_line(f"{name:{width}}  {describe_recipe(name).splitlines()[0]}")
    context.exit()


def _print_recipe(context: click.Context, parameter: click.Parameter, name: str | None) -> None:
    if name is None or context.resilient_parsing:
        return
    from ..train.recipe_file import open_recipe, to_toml

    click.echo(to_toml(open_recipe(name)), nl=False)
    context.exit()


@command(short_help="Train a network with a recipe.")
@click.argument("recipe", shell_complete=recipes)
@click.argument("training", shell_complete=paths)
@click.argument("validation", required=False, shell_complete=paths)
@OUTPUT_FOLDER
@QUIET
@section(
    "Recipes",
    click.option(
        "--list", is_eager=True, is_flag=True, expose_value=False, callback=_print_recipes, help="List all recipes."
    ),
    click.option(
        "--show",
        metavar="RECIPE",
        shell_complete=recipes,
        is_eager=True,
        expose_value=False,
        callback=_print_recipe,
        help="Print a recipe as a TOML file.",
    ),
)
@section(
    "Data",
    click.option("--split", metavar="NAME", help="Split of TRAINING to use, such as train, if it has several."),
    click.option(
        "--validation-split",
        metavar="NAME",
        help="Split of VALIDATION to use, or of TRAINING if VALIDATION is omitted.",
    ),
    IMAGE_COLUMN,
    count("--validate-every", help="Validate every N epochs and after the last.  [default: 1]"),
)
@section(
    "Changes to the recipe",
    count("--epochs", help="Train for N epochs, in the recipe's stages."),
    click.option("--batch-size", type=Whole(2), metavar="N", help="Images per step, over all devices."),
    click.option("--learning-rate", type=Real(), metavar="RATE", help="Highest learning rate of the schedule."),
    click.option("--seed", type=Whole(0), metavar="N", help="Seed of all randomness."),
    click.option(
        "--cell",
        metavar="FILE",
        shell_complete=paths,
        help="Use the cell of a network file, such as a search's best.json.",
    ),
    count("--cells", help="Number of cells, with --cell."),
    count("--filters", help="Filters of each operation, with --cell."),
    click.option(
        "-w",
        "--weights",
        metavar="SOURCE",
        shell_complete=weights,
        help="Start from a file, a folder or a published set of weights.",
    ),
)
@section(
    "Hardware",
    machine_options,
    click.option(
        "--precision",
        metavar="NAME",
        shell_complete=one_of(*PRECISIONS),
        help="Arithmetic: float32 or bfloat16; weights stay in float32.  [default: float32]",
    ),
)
def train(
    recipe: str,
    training: str,
    validation: str | None,
    output: Path,
    quiet: bool,
    split: str | None,
    validation_split: str | None,
    image_column: str | None,
    weights: str | None,
    machine: "Machine",
    **changes: Any,
) -> None:
    """Train a network, from scratch or from given weights.

    RECIPE is a name that --list prints, a TOML file, or a Python file that defines RECIPE. TRAINING and VALIDATION are
    folders with a subfolder of images for each class, Parquet files, Hugging Face datasets, WebDataset tars, or
    ILSVRC-2012 as published. They must have as many classes as the recipe's network.

    A finished training writes DIR/model.safetensors, with averaged weights. If it is interrupted, repeat the command to
    resume it after its last complete epoch. Images that cannot be read are skipped and listed in DIR/skipped.json, and
    the exit code is then 3.

    \b
      pnasnet train cifar10_short train.parquet test.parquet -o runs/short
      pnasnet train --show cifar10_short > mine.toml
      pnasnet train mine.toml photos/train photos/test -o runs/mine --epochs 30
      pnasnet train imagenet_mobile imagenet/ --split train --validation-split val -o runs/mobile
      pnasnet train cifar10 train.parquet test.parquet -o runs/found --cell best.json --filters 36
      pnasnet train pnasnet_tiny train.parquet test.parquet -o runs/longer --weights runs/first
    """
    from ..train import run
    from ..training.fit import own_rank

    quiet = quiet or own_rank() > 0
    show_logs(quiet=quiet)
    chosen, name = _choose(recipe, machine, **changes)
    chosen, first = (chosen, None) if weights is None else run.begin_from(chosen, weights)
    if path := run.finished(chosen, output):
        say(f"{path}: this training is finished; there is nothing to do")
        return
    data, seen = _open(training, validation, split, validation_split, image_column)
    with stoppable_bars(quiet, "batch", "repeat the command to resume after the last complete epoch") as progress:
        trained = run.train(chosen, name, data, seen, output, machine, first=first, progress=progress)
    if trained.fitted.rank > 0:
        return  # Lightning takes any other exit code for a failure, and kills the first process
    _print(trained)
    if trained.skipped:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _open(
    training: str, validation: str | None, split: str | None, validation_split: str | None, image_column: str | None
) -> "tuple[LabelledImages, LabelledImages | None]":
    """Return the images to train on, and those to validate on."""
    from ..datasets import open_dataset

    data = open_dataset(training, split=split, image_column=image_column)
    if validation is None and validation_split is None:
        return data, None
    return data, open_dataset(validation or training, split=validation_split, image_column=image_column)


def _choose(
    recipe: str, machine: "Machine", cell: str | None, cells: int | None, filters: int | None, **changes: Any
) -> "tuple[Recipe, str]":
    """Return the recipe with its changes, and the name of the model."""
    from ..architecture.network_file import read_network
    from ..train.recipe_file import open_recipe

    chosen, name = open_recipe(recipe), Path(recipe).stem
    with checking_usage():
        chosen = chosen.changed(**changes)
        machine.check_batch(chosen.batch_size, freeze_batch_norm=chosen.freeze_batch_norm)
    if cell is None:
        if cells or filters:
            raise click.UsageError("--cells and --filters need --cell; without it, the recipe sets them")
        return chosen, name
    network = read_network(Path(cell))
    return chosen.with_cell(network.spec.cell, cells, filters), network.name


def _print(trained: "TrainResult") -> None:
    for reason in list(trained.skipped.values())[:_SHOWN]:
        say(f"skipped: {reason}", err=True)
    if trained.skipped:
        say(
            f"{len(trained.skipped):,} of {trained.pictures:,} images cannot be read and were skipped; "
            f"{trained.path.parent / 'skipped.json'} lists them",
            err=True,
        )
    top1 = trained.validation_top1
    validated = "" if top1 is None else f", validation top-1 {top1:.2%}"
    say(f"{trained.path}: {trained.epochs} epochs{validated}, {trained.seconds:,.0f} s")
