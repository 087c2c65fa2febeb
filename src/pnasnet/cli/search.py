"""`pnasnet search`."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import InputError, UnknownNameError
from ..support.files import check_target
from .errors import needing, stop_on_signal
from .logs import show_logs
from .options import Command, bundle

if TYPE_CHECKING:
    from ..search.evaluator import Patience
    from ..search.journal import Child
    from ..search.run import Searched, Workers

_T = TypeVar("_T")

_PATIENCE = (
    click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="That each try of a child may take.  [default: any]",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0),
        metavar="N",
        help="More tries of a child that died or took too long.  [default: 2]",
    ),
)


def patience_options(command: Command) -> Command:
    """Give a command the options of `Patience`, as its argument `patience`."""

    def load() -> "type[Patience]":
        with needing("search", "searching"):
            from ..search.evaluator import Patience

        return Patience

    return bundle(command, "patience", load, _PATIENCE)


def _print_configs(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    with needing("search", "searching"):
        from ..search.config import CONFIGS, find_config
    width = max(map(len, CONFIGS))
    for name in CONFIGS:
        first = find_config(name).notes.partition("\n\n")[0]
        click.echo(f"{name:{width}}  {' '.join(first.split()).partition('. ')[0].rstrip('.')}")
    context.exit()


@click.command(short_help="Find cells by architecture search.")
@click.argument("config", required=False)
@click.argument("data", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Output folder, or --compare's file."
)
@click.option("--split", metavar="NAME", help="Which part of DATA: train, ...")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Children at a time.  [default: processors]")
@click.option("--address", metavar="ADDRESS", help="Of a Ray cluster, such as auto: children are its tasks.")
@click.option("--gpus", type=float, metavar="N", help="With --address: share of a GPU for each child.  [default: 0]")
@click.option("--accelerator", default="auto", show_default=True, metavar="NAME", help="cpu, gpu or auto.")
@patience_options
@click.option("--retry-failed", is_flag=True, help="Try children again that could not be trained or took too long.")
@click.option("--describe", is_flag=True, help="Say what CONFIG means, by default the paper's, and train nothing.")
@click.option(
    "--compare",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Draw the curves of a finished search, or of several, into the SVG file of -o.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the outputs of what DIR's journal has so far, and train nothing.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="With --compare: the mean of the N best; repeatable.  [default: 1 and 5]",
)
@click.option(
    "--algorithm", "algorithms", multiple=True, metavar="NAME", help="With --compare: only this one; repeatable."
)
@click.option("-q", "--quiet", is_flag=True, help="No word about each child.")
@click.option("--list", is_eager=True, is_flag=True, expose_value=False, callback=_print_configs, help="List CONFIGs.")
def search(
    config: str | None,
    data: str | None,
    output: Path | None,
    split: str | None,
    workers: int | None,
    address: str | None,
    gpus: float | None,
    accelerator: str,
    patience: "Patience",
    retry_failed: bool,
    describe: bool,
    compare: tuple[Path, ...],
    report: Path | None,
    top: tuple[int, ...],
    algorithms: tuple[str, ...],
    quiet: bool,
) -> None:
    """Find cells by Progressive Neural Architecture Search, and by random search and evolution to compare.

    CONFIG is the name of a configuration that comes with the package, or a .toml file. DATA are labelled images, as
    `pnasnet train` takes them; those that measure are split off. Each cell is trained in a small network, on this
    machine or on a Ray cluster.

    DIR gets journal.sqlite, with a row for each cell that was trained; best.json, a network that `pnasnet train`,
    `pnasnet models` and pnasnet.Module take, and best.svg, its cell; and report.html. Interrupted or killed, the same
    command goes on and trains nothing twice.

    \b
      pnasnet search --list
      pnasnet search --describe paper
      pnasnet search two_cores train.parquet -o runs/search --workers 2
      pnasnet search mine.toml train.parquet -o runs/search --address auto
      pnasnet search --report runs/search
      pnasnet search --compare runs/search -o curves.svg
      pnasnet search --compare runs/a --compare runs/b --algorithm progressive -o curves.svg
      pnasnet train cifar10 train.parquet test.parquet -o runs/found --cell runs/search/best.json
    """
    if sum(map(bool, (describe, compare, report))) > 1:
        raise click.UsageError("--describe, --compare and --report exclude one another")
    if (top or algorithms) and not compare:
        raise click.UsageError("--top and --algorithm are of --compare")
    if describe:
        _unwanted("--describe", DATA=data, o=output)
        _describe(config or "paper")
    elif compare:
        _unwanted("--compare, which is repeated for several folders,", CONFIG=config, DATA=data)
        _compare(compare, _needed(output, "-o FILE.svg"), top, algorithms)
    elif report:
        _unwanted("--report", CONFIG=config, DATA=data, o=output)
        _report(report)
    else:
        with needing("search", "searching"):
            from ..search.run import Workers

        show_logs(quiet=quiet)
        places = _needed(config, "CONFIG"), _needed(data, "DATA"), _needed(output, "-o DIR")
        if gpus is not None and (address is None or not 0 <= gpus <= 8):
            raise click.UsageError("--gpus goes with --address, and is a number from 0 to 8")
        where = Workers(workers, address, gpus or 0.0, patience)
        _search(*places, split, where, accelerator, retry_failed)


def _needed(value: _T | None, name: str) -> _T:
    if value is None:
        raise click.UsageError(f"Missing {name}.")
    return value


def _unwanted(option: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise click.UsageError(f"{option} takes no {name if name.isupper() else f'-{name}'}: {value}")


def _describe(name: str) -> None:
    with needing("search", "searching"):
        from ..search.config import find_config
        from ..search.describe import describe
    for line in describe(find_config(name)):
        click.echo(line)


def _compare(folders: tuple[Path, ...], output: Path, top: tuple[int, ...], algorithms: tuple[str, ...]) -> None:
    with needing("search", "comparing searches"):
        from ..search.analysis import TOP, read_findings
        from ..search.config import ALGORITHMS
        from ..search.report import comparison_file
        from ..support.files import write_text

    if output.suffix != ".svg":
        raise InputError(f"the picture is SVG: give -o a name such as {output.with_suffix('.svg')}")
    check_target(output)
    for name in algorithms:
        if name not in ALGORITHMS:
            raise UnknownNameError.of("algorithm", name, ALGORITHMS)
    found = [(folder.name, read_findings(folder)) for folder in folders]
    write_text(output, comparison_file(found, top or (1, TOP), algorithms or ALGORITHMS))
    click.echo(str(output))


def _report(folder: Path) -> None:
    with needing("search", "a search's report"):
        from ..reports.charts import check_packages
        from ..search.outputs import REPORT, write_outputs

    check_packages()
    _print_networks(write_outputs(folder))
    click.echo(str(folder / REPORT))


def _search(
    name: str, data: str, output: Path, split: str | None, workers: "Workers", accelerator: str, retry_failed: bool
) -> None:  # fmt: skip
    from ..datasets import open_dataset

    with needing("search", "searching"):
        from ..reports.charts import check_packages
        from ..search.child import TrainingJob, describe_data, split_pictures
        from ..search.config import find_config
        from ..search.outputs import write_outputs
        from ..search.run import UNFINISHED
        from ..search.run import search as run_search

    check_packages()
    config = find_config(name)
    pictures = open_dataset(data, split=split)
    split_pictures(pictures, config.child)  # fails now, not in other processes
    unfinished = None if workers.address else str((output / UNFINISHED).absolute())
    if not data.startswith("hf:"):
        data = str(Path(data).absolute())  # patterns, too: other processes need not run where this one does
    job = TrainingJob(config.child, data, split, len(pictures.classes), unfinished, accelerator)
    started = time.monotonic()
    with stop_on_signal() as stop:
        check = partial(stop.check, f"the same command goes on, and --report {output} shows what there is so far")
        done = run_search(
            config, job, describe_data(pictures), output, workers,
            retry_failed=retry_failed, check=check,
        )  # fmt: skip
    written = write_outputs(output)
    _print(done, output, time.monotonic() - started)
    _print_networks(written)


def _print(done: "Searched", output: Path, seconds: float) -> None:
    for name, steps in done.steps.items():
        best = max((step.child.accuracy for step in steps), default=0.0)
        click.echo(f"{name}: {len(steps):,} models, best {best:.2%}")
    click.echo(f"{output}: {done.trained:,} children trained in {seconds:,.0f} s; see {Path(output) / 'report.html'}")


def _print_networks(written: "list[tuple[Path, Child]]") -> None:
    for path, child in written:
        click.echo(f"{path}: {child.accuracy:.2%}")
