"""`pnasnet evaluate`."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, PnasnetError
from ..support.files import write_text
from ..support.text import clean
from .errors import EXIT_IMAGES_FAILED, check_file
from .logs import show_logs
from .options import IMAGE_COLUMN, QUIET, count, extract_options, flag, model_argument
from .printing import say, to_json
from .progress import bars
from .sections import command, section
from .tables import TableColumn, first_words, note_left_out, print_line, print_table
from .values import paths

if TYPE_CHECKING:
    from ..datasets import LabelledImages
    from ..evaluation import Evaluation, Rate
    from ..evaluation.result import ClassFigures
    from ..extract import ExtractOptions
    from ..module.choice import ModelChoice


@command()
@model_argument
@click.argument("data", shell_complete=paths)
@section(
    "Data",
    click.option("--split", metavar="NAME", help="Split of DATA to use, such as validation, if it has several."),
    IMAGE_COLUMN,
    count("--limit", help="Use only N images, spread evenly over DATA."),
)
@section(
    "Output",
    flag("--per-class", help="Also print recall and precision of each class."),
    flag("--json", "as_json", help="Print the whole result as JSON instead of tables."),
    click.option(
        "-o",
        "--output",
        metavar="FILE.json",
        shell_complete=paths,
        help="Also write the JSON to FILE.json, replacing it.",
    ),
    QUIET,
)
@extract_options
def evaluate(
    model: "ModelChoice",
    data: str,
    split: str | None,
    image_column: str | None,
    options: "ExtractOptions",
    limit: int | None,
    per_class: bool,
    as_json: bool,
    output: str | None,
    quiet: bool,
) -> None:
    """Measure the accuracy of a classifier on labelled images.

    MODEL is a name from `pnasnet models`, a TF-Hub handle or URL, or the path of a file or folder with weights. DATA is
    a folder with a subfolder of images for each class, Parquet files, a Hugging Face dataset, WebDataset tars, or
    ILSVRC-2012 as published. Its classes are matched to the model's by name, WordNet ID or number, and the result
    reports how. If images cannot be read, the figures cover the others, and the exit code is 3.

    \b
      pnasnet evaluate pnasnet_tiny cifar10.parquet --per-class
      pnasnet evaluate model/ data/ --split validation -o figures.json
      pnasnet evaluate pnasnet_large ILSVRC2012_val/ --preset slim
    """
    from ..evaluation import evaluate as evaluate_module

    check_file(output, ".json", (data, model.model))
    images = _open(data, split, image_column, limit, model.model)
    show_logs(quiet=quiet)
    module = model.open()
    with bars(quiet, unit="image") as progress:
        result = evaluate_module(module, images, options, progress=progress)
    text = to_json(result.to_dict(), 2)
    try:
        if output:
            write_text(Path(output), text + "\n")
    finally:  # print the result even if the disk is full
        if as_json:
            for line in text.split("\n"):
                say(line)
        else:
            _print(result, per_class)
    if result.failed:
        _print_failures(result)
        raise SystemExit(EXIT_IMAGES_FAILED)


def _open(data: str, split: str | None, image_column: str | None, limit: int | None, model: str) -> "LabelledImages":
    from ..datasets import open_dataset

    try:
        images = open_dataset(data, split=split, image_column=image_column)
    except InputError as error:
        if _are_swapped(model, data, split):
            swapped = shlex.join(["pnasnet", "evaluate", data, model])
            raise click.UsageError(f"the model comes before the data: {swapped}") from error
        raise
    if limit is None or limit >= len(images):
        return images
    return images.take([index * len(images) // limit for index in range(limit)])


def _are_swapped(model: str, data: str, split: str | None) -> bool:
    """Return whether MODEL names data, and DATA a model."""
    from ..architecture.zoo import find_named
    from ..datasets import open_dataset

    if not Path(data).exists():
        return find_named(data) is not None
    try:
        return Path(model).exists() and len(open_dataset(model, split=split)) > 0
    except PnasnetError:
        return False


def _print_failures(result: "Evaluation") -> None:
    for line in result.errors:
        say(f"failed: {line}", err=True)
    total = result.images + result.failed
    say(f"{result.failed:,} of {total:,} images failed; the figures cover the other {result.images:,}", err=True)


def _print(result: "Evaluation", per_class: bool) -> None:
    for line in _lines(result):
        print_line(line)
    if per_class:
        say()
        note_left_out(print_table(_CLASSES, [_class_cells(each) for each in result.per_class]))


def _lines(result: "Evaluation") -> Iterator[str]:
    """Yield the lines to print for a result."""
    published = result.published
    top1, top5 = (published.top1, published.top5) if published else (None, None)
    height, width = result.image_size
    turned = ", turned by their EXIF orientation" if result.exif else ""
    yield f"top-1          {_rate(result.top1, top1)}"
    if result.top5:
        yield f"top-5          {_rate(result.top5, top5)}"
    yield f"per class      {result.balanced_accuracy or 0:8.2%}  mean recall of the classes that have images"
    yield f"images         {result.images:,}" + (f", without {result.failed:,} that failed" if result.failed else "")
    yield f"classes        {clean(result.matching)}"
    yield f"preprocessing  {result.preset}, {height}x{width}{turned}"
    yield f"weights        {clean(result.model)}: {clean(result.weights)}, SHA-256 {result.weights_sha256[:12]}"
    yield f"engine         {result.engine}"
    yield f"time           {result.seconds:.1f} s, {(result.images + result.failed) / result.seconds:.1f} images/s"


_CLASSES = (
    TableColumn("class", shorten=first_words),
    TableColumn("images", right=True, rank=1),
    TableColumn("recall", right=True),
    TableColumn("95 % interval", rank=2),
    TableColumn("predicted", right=True, rank=3),
    TableColumn("precision", right=True),
    TableColumn("95 % interval", rank=4),
)


def _class_cells(each: "ClassFigures") -> list[str]:
    name = each.name if each.name == each.label else f"{each.name} {each.label}"
    return [name, f"{each.recall.count:,}", *_short(each.recall), f"{each.precision.count:,}", *_short(each.precision)]


def _rate(rate: "Rate", published: float | None) -> str:
    low, high = rate.interval
    beside = "" if published is None else f"  published {published:g} %"
    return f"{rate.value or 0:8.2%}  95 % interval {low:.2%} to {high:.2%}{beside}"


def _short(rate: "Rate") -> tuple[str, str]:
    if rate.value is None:
        return "", ""
    low, high = rate.interval
    return f"{rate.value:.2%}", f"{low:.2%} to {high:.2%}"
