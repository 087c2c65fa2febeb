"""`pnasnet embed`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.cluster import LOCAL
from ..support.text import counted
from .errors import EXIT_IMAGES_FAILED, Stop, stop_on_signal
from .logs import show_logs
from .options import Command, bundle, extract_options, model_options
from .progress import bars
from .sections import Decorator, command, section

if TYPE_CHECKING:
    from ..extract import ColumnBuilder, ExtractOptions, Report, Sources
    from ..extract.on_ray import RayOptions
    from ..extract.output import Mode
    from ..extract.run import Fill
    from ..module.choice import ModelChoice
    from ..pictures import Unit
    from ..support.progress import Progress


@dataclass(frozen=True)
class Named:
    """The sources that the user named, and where a list of further ones is."""

    sources: tuple[str, ...] = ()
    files_from: str | None = None
    null: bool = False
    image_column: str | None = None
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise for what is known to be wrong before anything is listed."""
        from ..extract import check_sources

        if not self.sources and self.files_from is None:
            raise click.UsageError("name at least one source, or a list with --files-from")
        if self.null and self.files_from is None:
            raise click.UsageError("--null describes a list: name one with --files-from")
        check_sources(self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """What identifies the sources of a run."""
        lists = [] if self.files_from is None else [self.files_from]
        columns = [] if self.image_column is None else [self.image_column]
        named = {"files-from": lists, "image-column": columns, "root": self.roots, "allow-url-host": self.hosts}
        return (*self.sources, *(f"--{option}={value}" for option, values in named.items() for value in values))

    def listed(self) -> "Sources":
        """Return what lists all of them."""
        from ..extract import Sources, list_units, read_list
        from ..pictures import Access, PassedOver

        passed_over = PassedOver()
        tables = partial(
            list_units, image_column=self.image_column, access=Access(self.roots, self.hosts), passed_over=passed_over
        )

        def units() -> "Iterator[Unit]":
            yield from tables(self.sources)
            if self.files_from is not None:
                yield from tables(read_list(self.files_from, null=self.null), listed=True)

        return Sources(units, self.names, passed_over)


@dataclass(frozen=True)
class Target:
    """Where the rows go, and what to do with existing ones."""

    output: str
    resume: bool = False
    overwrite: bool = False
    add: bool = False
    retry_errors: bool = False

    def mode(self) -> "Mode | None":
        """Return the chosen mode, which is at most one."""
        modes: dict[Mode, bool] = {
            "resume": self.resume,
            "overwrite": self.overwrite,
            "add": self.add,
            "retry-errors": self.retry_errors,
        }
        chosen = [name for name, given in modes.items() if given]
        if len(chosen) > 1:
            raise click.UsageError(f"{' and '.join(f'--{name}' for name in chosen)} exclude one another")
        return chosen[0] if chosen else None


@dataclass(frozen=True)
class Workers:
    """How a Ray cluster is used, if one is."""

    ray: bool = False
    address: str | None = None
    workers: int | None = None
    cpus: int | None = None
    gpus: float | None = None

    def options(self) -> "RayOptions | None":
        """Return the options of the cluster, or None for this machine alone."""
        numbers = {"workers": self.workers, "cpus": self.cpus, "gpus": self.gpus}
        given = {name: value for name, value in numbers.items() if value is not None}
        if self.ray or self.address is not None:
            from ..extract.on_ray import RayOptions

            return RayOptions(self.address or LOCAL, **given)  # type: ignore[arg-type] # each has its own type
        if given:
            names = " and ".join(f"--{name}" for name in given)
            raise click.UsageError(f"{names} describe workers on a cluster: add --ray or --address")
        return None


def _as(name: str, kind: type, *options: Decorator) -> Decorator:
    """Declare options whose values the command receives as one value."""

    def declare(function: Command) -> Command:
        return bundle(function, name, lambda: kind, options)

    return declare


@command(short_help="Write the feature vectors of photos to Parquet.")
@section(
    "Sources",
    _as(
        "named",
        Named,
        click.argument("sources", nargs=-1),
        click.option(
            "--files-from",
            metavar="FILE",
            help="Read further sources from FILE, one on each line; - is standard input. A listed path that does not "
            "exist becomes a row with an error.",
        ),
        click.option("-0", "--null", is_flag=True, help="Entries of the list end with a zero byte (find -print0)."),
        click.option(
            "--image-column", metavar="NAME", help="Column of photos in Parquet files.  [default: image or img]"
        ),
        click.option(
            "--root",
            "roots",
            multiple=True,
            metavar="DIR",
            help="Open paths in Parquet files only below DIR. May be repeated.  [default: the folder of the file]",
        ),
        click.option(
            "--allow-url-host",
            "hosts",
            multiple=True,
            metavar="HOST",
            help="Open URLs in Parquet files that lead to HOST, or to the bucket HOST. May be repeated.",
        ),
    ),
)
@section(
    "Output",
    _as(
        "target",
        Target,
        click.option(
            "-o", "--output", required=True, metavar="PATH", help="A folder, or a file whose name ends in .parquet."
        ),
        click.option("--resume", is_flag=True, help="Fail unless there is a run to resume."),
        click.option(
            "--overwrite",
            is_flag=True,
            help="Start over, and replace the existing output at the end. If this is interrupted, repeat the command "
            "to resume it.",
        ),
        click.option(
            "--add",
            is_flag=True,
            help="List the sources again and append rows of new files and shards to a folder. Known ones are not read "
            "again, even if they have changed.",
        ),
        click.option("--retry-errors", is_flag=True, help="Compute the failed rows of a folder again."),
    ),
    click.option(
        "--give-up",
        type=click.IntRange(0),
        metavar="N",
        help="Stop after N unreachable photos or shards in sequence. With 0, record them as failed instead of trying "
        "them again in the next run.  [default: 32]",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print neither a progress bar nor notes."),
)
@section(
    "Vectors",
    click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        default=("global_pool",),
        show_default=True,
        metavar="NAME",
        help="Output of the network: global_pool, Logits, Predictions, Cell_7, ... May be repeated.",
    ),
    click.option("--whole-maps", is_flag=True, help="Write feature maps whole instead of averaging over positions."),
    click.option("--vectors", metavar="NAME", help="Number format: float32, float16 or bfloat16.  [default: float32]"),
    click.option("--normalize", is_flag=True, help="Scale vectors to length 1."),
    click.option("--deduplicate", is_flag=True, help="Compute photos with equal bytes only once."),
)
@section(
    "Model",
    model_options,
    click.option(
        "--with", "others", multiple=True, metavar="MODEL", help="Another model in the same pass. May be repeated."
    ),
)
@section("Photos", extract_options)
@section(
    "Ray cluster",
    _as(
        "cluster",
        Workers,
        click.option("--ray", is_flag=True, help="Extract on a Ray cluster; without --address, one on this machine."),
        click.option(
            "--address",
            metavar="ADDRESS",
            help="Address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. All machines must reach the sources "
            "and the output.",
        ),
        click.option("--workers", type=click.IntRange(1), metavar="N", help="Number of workers.  [default: what fits]"),
        click.option("--cpus", type=click.IntRange(1), metavar="N", help="Processors of each worker.  [default: 1]"),
        click.option("--gpus", type=click.FloatRange(0), metavar="N", help="GPUs of each worker.  [default: 0]"),
    ),
)
def embed(
    named: Named,
    target: Target,
    model: "ModelChoice",
    others: tuple[str, ...],
    endpoints: tuple[str, ...],
    options: "ExtractOptions",
    cluster: Workers,
    quiet: bool,
) -> None:
    """Write the feature vectors of photos to Parquet.

    SOURCES are files, folders with their subfolders, patterns such as 'photos/**/*.jpg', tar, zip and Parquet files,
    all of them also behind a URL (https://, s3://, gs://), and Hugging Face datasets (hf:NAME). Each photo becomes a
    row: path, embedding, width, height, status, error. Rows are in the order of the sources, and by name within a
    folder. A photo that cannot be read becomes a row with an error, and the exit code is then 3.

    If a run is interrupted, killed, or fills the disk, repeat the command to resume it. Photos and shards that could
    not be reached are tried again.

    \b
      pnasnet embed photos/ -o features.parquet
      pnasnet embed 'shards/*.tar' s3://bucket/photos -o features/
      pnasnet embed photos/ -o features/ --add
      pnasnet embed photos/ --model pnasnet_tiny --endpoint Cell_3 --normalize -o features/
      find / -name '*.jpg' -print0 | pnasnet embed --files-from - -0 -o features/
      pnasnet embed photos/ --weights pnasnet-5_large_2017_12_13.tar.gz -o features.parquet
      pnasnet embed 's3://bucket/*.tar' --address ray://head:10001 --cpus 4 -o /shared/features
    """
    from ..extract import ColumnBuilder, extract_to
    from ..extract.output import check_output

    mode = target.mode()
    check_output(target.output, mode)
    named.check()  # before a model is downloaded
    show_logs(quiet=quiet)
    build = ColumnBuilder((model, *(replace(model, model=name, weights=None) for name in others)), endpoints, options)
    fill = _fill(cluster.options(), build, options, target)
    with stop_on_signal() as stop, bars(quiet, "image") as shown:
        report = extract_to(
            target.output, named.listed(), build(), options, mode=mode, fill=fill, progress=_stopping(shown, stop)
        )
    _print(report, target)
    if report.failed:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _fill(ray: "RayOptions | None", build: "ColumnBuilder", options: "ExtractOptions", target: Target) -> "Fill":
    """Return what computes the rows: this machine, or a cluster that answers."""
    from ..extract.run import fill_here

    if ray is None:
        return fill_here
    if options.deduplicate:
        raise click.UsageError("--deduplicate works on one machine only: leave it out, or the cluster")
    from ..extract.on_ray import check_cluster, fill_on_ray

    check_cluster(ray)
    return partial(fill_on_ray, build=build.on_workers(ray.cpus), ray_options=ray, retry_errors=target.retry_errors)


def _stopping(shown: "Progress", stop: Stop) -> "Progress":
    """Return what shows progress, and ends the run between two batches if a signal has asked for it."""

    def progress(stage: str, done: int, total: int | None) -> None:
        shown(stage, done, total)
        stop.check()

    return progress


def _print(report: "Report", target: Target) -> None:
    output, new = target.output, report.failed - report.failed_before
    notes = [f"failed: {line}" for line in report.errors]
    if new > len(report.errors):
        notes.append(f"failed: {new - len(report.errors):,} more; see the column error")
    if report.failed_before:
        notes.append(f"failed: {report.failed_before:,} in earlier runs; see the column error, or try --retry-errors")
    if report.passed_over:
        notes.append(report.passed_over)
    if report.unturned:
        notes.append(f"{counted(report.unturned, 'photo')} with an EXIF orientation that was not applied; see --exif")
    if report.vanished:
        notes.append(f"not listed any more: {counted(report.vanished, 'input')} of {output}; the rows are kept")
    for note in notes:
        click.echo(note, err=True)
    is_file = Path(output).suffix.lower() == ".parquet"
    if not report.rows:
        hint = "nothing new is listed" if target.add else "use --overwrite to start over"
        if not is_file and not target.add:
            hint = "use --add to look for new photos"
        click.echo(f"{output}: already complete, with {counted(report.kept, 'row')}; {hint}")
        return
    click.echo(
        f"{output}: {report.rows - new:,} embedded, {new:,} failed, "
        f"in {report.seconds:.1f} s ({report.rows / max(report.seconds, 1e-9):.1f} images/s)"
        + (f"; {counted(report.kept, 'row')} of earlier runs" if report.kept else "")
        + (f"; {counted(report.stages.copies, 'vector')} copied" if report.stages.copies else "")
        + f"; see {Path(output).with_suffix('.report.html') if is_file else Path(output) / '_report.html'}"
    )
