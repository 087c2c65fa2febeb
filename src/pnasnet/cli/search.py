"""`pnasnet search` and its commands."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MissingExtraError
from ..support.contexts import contextmanager
from .errors import check_file, checking_usage, stop_on_signal
from .logs import show_logs
from .numbers import Real, Whole
from .options import OUTPUT_FOLDER, QUIET, count, flag, several
from .printing import say
from .progress import bars
from .sections import Sectioned, given_options, pass_as, section
from .tables import print_line
from .values import ACCELERATORS, ALGORITHMS, PREDICTORS, configurations, folders, one_of, paths

if TYPE_CHECKING:
    from ..search.journal import Child
    from ..search.run import SearchResult, Workers


@contextmanager
def _needing_search() -> Iterator[None]:
    """Within the block, which imports the packages of the extra, turn a missing one into `MissingExtraError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "a package", "search", "architecture search") from error


def _choose_workers(
    count: int | None = None,
    address: str | None = None,
    gpus: float = 0.0,
    timeout: float | None = None,
    retries: int = 2,
) -> "Workers":
    if gpus and address is None:
        raise click.UsageError("--gpus needs --address")
    with _needing_search():
        from ..search.evaluator import Patience
        from ..search.run import Workers

    return Workers(count, address, gpus, Patience(timeout, retries))


_TRAINING, _WORKERS = "Missing cells", "Workers"

_worker_options = section(
    _WORKERS,
    pass_as(
        "workers",
        _choose_workers,
        count("--workers", "count", help="Workers at a time, each training a child.  [default: one per processor]"),
        click.option("--address", metavar="ADDRESS", shell_complete=one_of("auto"),
                     help="Address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. Children are trained as Ray "
                     "tasks."),
        click.option("--gpus", type=Real(0, 8), metavar="N",
                     help="With --address: share of a GPU for each child.  [default: 0]"),
        click.option("--timeout", type=Real(), metavar="SECONDS",
                     help="Limit for each attempt to train a child.  [default: none]"),
        click.option("--retries", type=Whole(0), metavar="N",
                     help="Further attempts after a child's process died or exceeded --timeout.  [default: 2]")
    ),
    click.option("--accelerator", default="auto", show_default=True, metavar="NAME",
                 shell_complete=one_of(*ACCELERATORS), help="cpu, gpu or auto.")
)  # fmt: skip


@click.group(short_help="Find cells by architecture search.")
def search() -> None:
    """Find cells by Progressive Neural Architecture Search, random search or evolution.

    Each cell is trained for a short time in a small network, its child. Networks are written for the best cells.

    \b
      pnasnet search describe
      pnasnet search run two_cores train.parquet -o runs/search --workers 2
      pnasnet search report runs/search
      pnasnet search compare runs/a runs/b --algorithm progressive -o curves.svg
      pnasnet train cifar10 train.parquet test.parquet -o runs/found --cell runs/search/best.json
    """


@search.command(cls=Sectioned)
@click.argument("config", shell_complete=configurations)
@click.argument("data", shell_complete=paths)
@OUTPUT_FOLDER
@click.option("--split", metavar="NAME", help="Split of DATA to use, such as train, if it has several.")
@_worker_options
@click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Copy the trained children of another search first. Its [child] settings and DATA must be the same.",
)
@flag("--retry-failed", help="Train children again that failed or exceeded --timeout.")
@QUIET
def run(
    config: str,
    data: str,
    output: Path,
    split: str | None,
    workers: "Workers",
    accelerator: str,
    reuse: Path | None,
    retry_failed: bool,
    quiet: bool,
) -> None:
    """Run the searches of a configuration.

    CONFIG is the name of a configuration in the package or a .toml file. DATA is a set of labelled images, as for
    `pnasnet train`; some of the images are set aside for validation.

    DIR receives journal.sqlite, with a row for each trained cell; best.json, a network for `pnasnet train`, `pnasnet
    models` and pnasnet.Module; best.svg, a drawing of its cell; and report.html. If the search is interrupted, repeat
    the command to resume it; no cell is trained twice.

    \b
      pnasnet search run two_cores train.parquet -o runs/search --workers 2
      pnasnet search run mine.toml train.parquet -o runs/search --address auto
    """
    with _needing_search():
        from ..search.config_file import find_config
        from ..search.images import search_images

    show_logs(quiet=quiet)
    chosen = find_config(config)
    started = time.monotonic()
    hint = f"repeat the command to resume; `pnasnet search report {output}` shows the results so far"
    with stop_on_signal(hint) as check:
        searched, written = search_images(
            chosen, data, output, split=split, workers=workers, accelerator=accelerator,
            reuse=reuse, retry_failed=retry_failed, check=check,
        )  # fmt: skip
    _print(searched, output, time.monotonic() - started)
    _print_networks(written)


@search.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", shell_complete=folders)
def report(folder: Path) -> None:
    """Write the report and the best networks of a search.

    Nothing is trained. The search may still be running.

    \b
      pnasnet search report runs/search
    """
    with _needing_search():
        from ..search.outputs import REPORT, write_outputs

    _print_networks(write_outputs(folder))
    say(str(folder / REPORT))


@search.command(short_help="Draw the progress of one search or several.")
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...", shell_complete=folders
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.svg", help="Output file.")
@several(
    "--top",
    type=Whole(),
    metavar="N",
    help="Draw the mean accuracy of the N best cells. May be repeated.  [default: 1 and 5]",
)
@several(
    "--algorithm",
    "algorithms",
    metavar="NAME",
    shell_complete=one_of(*ALGORITHMS),
    help="Draw only this algorithm. May be repeated.",
)
def compare(folders: tuple[Path, ...], output: Path, top: tuple[int, ...], algorithms: tuple[str, ...]) -> None:
    """Draw the best accuracy against the number of trained models, of one search or several.

    \b
      pnasnet search compare runs/search -o curves.svg
      pnasnet search compare runs/a runs/b --algorithm progressive -o curves.svg
    """
    with _needing_search():
        from ..search.report import write_comparison

    check_file(str(output), ".svg", ())
    write_comparison(output, folders, top, algorithms)
    say(str(output))


@search.command(short_help="Describe a configuration, or list all.")
@click.argument("config", required=False, shell_complete=configurations)
def describe(config: str | None) -> None:
    """Describe a configuration, or list those in the package.

    A description has the size of the search space, the child network, and the searches with their budgets.

    \b
      pnasnet search describe
      pnasnet search describe paper
    """
    with _needing_search():
        from ..search.config_file import config_summaries, find_config
        from ..search.describe import describe as describe_config

    if config is None:
        summaries = dict(config_summaries())
        width = max(map(len, summaries))
        lines: Iterable[str] = (f"{name:{width}}  {summary}" for name, summary in summaries.items())
    else:
        lines = describe_config(find_config(config))
    for line in lines:
        print_line(line)


@search.command("evaluate-predictors", cls=Sectioned, short_help="Measure how well predictors rank cells.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", shell_complete=folders)
@section(
    _TRAINING,
    click.option(
        "--train",
        "data",
        metavar="DATA",
        shell_complete=paths,
        help="Train the missing random cells on DATA, the images of the search.",
    ),
    click.option("--split", metavar="NAME", help="With --train: split of DATA to use, such as train."),
)
@_worker_options
@section(
    "Protocol",
    click.option(
        "--fit-cells",
        "cells",
        type=Whole(),
        default=256,
        show_default=True,
        metavar="K",
        help="Random cells to which a predictor is fitted.",
    ),
    click.option(
        "--pool",
        type=Whole(),
        default=10_000,
        show_default=True,
        metavar="R",
        help="Random cells of each size to rank.",
    ),
    click.option(
        "--trials",
        type=Whole(),
        default=20,
        show_default=True,
        metavar="T",
        help="Number of trials, each of other cells.",
    ),
    several(
        "--predictor",
        "predictors",
        metavar="NAME",
        shell_complete=one_of(*PREDICTORS),
        help="Measure only this predictor. May be repeated.",
    ),
)
@QUIET
def evaluate_predictors(
    folder: Path,
    data: str | None,
    split: str | None,
    workers: "Workers",
    accelerator: str,
    cells: int,
    pool: int,
    trials: int,
    predictors: tuple[str, ...],
    quiet: bool,
) -> None:
    """Measure how well predictors rank random cells, as in table 1 of Liu et al., 2018.

    Each trial fits a predictor to K random cells of one size, and measures how well it ranks R random cells with one
    block more. DIR is the folder of a search, whose trained cells are used. The results are written to
    DIR/predictors.json. If the command is interrupted, repeat it to resume.

    \b
      pnasnet search evaluate-predictors runs/search --train train.parquet --pool 300 --workers 2
    """
    for option in given_options(_TRAINING, _WORKERS) if data is None else ():
        raise click.UsageError(f"{option} needs --train: without it, no cell is trained")
    with _needing_search():
        from ..search.images import training_on
        from ..search.predictors import NAMES
        from ..search.trials import Protocol
        from ..search.trials import evaluate_predictors as evaluate

    show_logs(quiet=quiet)
    with checking_usage():
        protocol = Protocol(cells, pool, trials, predictors or NAMES)
    shown = bars(quiet or data is not None, "fit")
    with stop_on_signal("repeat the command to resume") as check, shown as progress:
        training = None if data is None else training_on(folder, data, split, workers, accelerator, check)
        evaluated = evaluate(folder, protocol, training, progress)
    for line in evaluated.lines():
        print_line(line)


def _print(done: "SearchResult", output: Path, seconds: float) -> None:
    for name, steps in done.steps.items():
        best = max((step.child.accuracy for step in steps), default=0.0)
        say(f"{name}: {len(steps):,} models, best {best:.2%}")
    say(f"{output}: {done.trained:,} children trained in {seconds:,.0f} s; see {output / 'report.html'}")


def _print_networks(written: "list[tuple[Path, Child]]") -> None:
    for path, child in written:
        say(f"{path}: {child.accuracy:.2%}")
