"""`pnasnet embed`."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from ..support.cluster import LOCAL
from ..support.text import counted
from .errors import EXIT_IMAGES_FAILED, checking_usage, to_failure, wants_traceback
from .logs import show_logs
from .numbers import Real, Whole
from .options import ENDPOINTS, FOLDER, IMAGE_COLUMN, QUIET, count, extract_options, flag, model_options, several
from .printing import say
from .progress import stoppable_bars
from .sections import command, pass_as, section
from .values import VECTORS, folders, models, one_of, paths

if TYPE_CHECKING:
    from ..extract import ExtractOptions, Report, Sources
    from ..extract.columns import ColumnBuilder
    from ..extract.on_ray import RayOptions
    from ..extract.output import Mode
    from ..extract.run import Fill
    from ..module.choice import ModelChoice
    from ..pictures import Unit


def _list_sources(
    sources: tuple[str, ...] = (),
    files_from: str | None = None,
    null: bool = False,
    image_column: str | None = None,
    roots: tuple[str, ...] = (),
    hosts: tuple[str, ...] = (),
) -> "Sources":
    """Return the sources; they are listed when the run needs them."""
    from ..extract import Sources, list_units
    from ..pictures import Access, PassedOver, check_sources, read_list

    if not sources and files_from is None:
        raise click.UsageError("name at least one source, or a list with --files-from")
    if null and files_from is None:
        raise click.UsageError("--null needs a list: name one with --files-from")
    try:
        check_sources(sources)
    except InputError as error:  # `pass_as` would report a missing file as wrong usage
        if wants_traceback():
            raise
        raise to_failure(error) from error
    passed_over = PassedOver()
    listed = partial(list_units, image_column=image_column, access=Access(roots, hosts), passed_over=passed_over)

    def units() -> "Iterator[Unit]":
        yield from listed(sources)
        if files_from is not None:
            yield from listed(read_list(files_from, null=null), listed=True)

    lists, columns = ([] if value is None else [value] for value in (files_from, image_column))
    named = {"files-from": lists, "image-column": columns, "root": roots, "allow-url-host": hosts}
    options = (f"--{option}={value}" for option, values in named.items() for value in values)
    return Sources(units, (*sources, *options), passed_over)


def _choose_mode(
    resume: bool = False, overwrite: bool = False, add: bool = False, retry_errors: bool = False
) -> "Mode | None":
    modes: dict[Mode, bool] = {"resume": resume, "overwrite": overwrite, "add": add, "retry-errors": retry_errors}
    chosen = [mode for mode, given in modes.items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(f'--{mode}' for mode in chosen)} cannot be combined")
    return chosen[0] if chosen else None


def _choose_cluster(
    ray: bool = False,
    address: str | None = None,
    workers: int | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
) -> "RayOptions | None":
    numbers = {"workers": workers, "cpus": cpus, "gpus": gpus}
    given = {name: value for name, value in numbers.items() if value is not None}
    if ray or address is not None:
        from ..extract.on_ray import RayOptions

        return RayOptions(address or LOCAL, **given)  # type: ignore[arg-type] # each has its own type
    if given:
        names = " and ".join(f"--{name}" for name in given)
        raise click.UsageError(f"{names} can only be used on a cluster: add --ray or --address")
    return None


@command(short_help="Write the feature vectors of images to Parquet.")
@section(
    "Sources",
    pass_as(
        "sources",
        _list_sources,
        click.argument("sources", nargs=-1, shell_complete=paths),
        click.option(
            "--files-from",
            metavar="FILE",
            shell_complete=paths,
            help="Also read sources from FILE, one per line; - is standard input. A listed path that does not exist "
            "becomes a row with an error.",
        ),
        flag("-0", "--null", help="Entries of the list end with a null byte (find -print0)."),
        IMAGE_COLUMN,
        click.option(
            "--root",
            "roots",
            multiple=True,
            type=FOLDER,
            metavar="DIR",
            shell_complete=folders,
            help="Open paths in Parquet files only below DIR. May be repeated.  [default: the folder of the file]",
        ),
        click.option(
            "--allow-url-host",
            "hosts",
            multiple=True,
            metavar="HOST",
            help="Open URLs in Parquet files only at HOST, or in the bucket HOST. May be repeated.  [default: none]",
        ),
    ),
)
@section(
    "Output",
    click.option(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        shell_complete=paths,
        help="A folder, or a file whose name ends in .parquet.",
    ),
    pass_as(
        "mode",
        _choose_mode,
        flag("--resume", help="Fail unless there is a run to resume."),
        flag(
            "--overwrite",
            help="Start over, and replace the existing output at the end. If this run is interrupted, repeat the "
            "command to resume it.",
        ),
        flag(
            "--add",
            help="List the sources again, and append rows of new files and shards to a folder. Known ones are not read "
            "again, even if they have changed.",
        ),
        flag("--retry-errors", help="Compute the failed rows of a folder again."),
    ),
    click.option(
        "--give-up",
        type=Whole(0),
        metavar="N",
        help="Stop after N consecutive unreachable images or shards. With 0, record them as failed instead of trying "
        "them again in the next run.  [default: 32]",
    ),
    QUIET,
)
@section(
    "Vectors",
    ENDPOINTS,
    flag("--whole-maps", help="Write feature maps whole instead of averaging over positions."),
    click.option(
        "--vectors",
        metavar="NAME",
        shell_complete=one_of(*VECTORS),
        help="Number format: float32, float16 or bfloat16.  [default: float32]",
    ),
    flag("--normalize", help="Scale vectors to length 1."),
    flag("--deduplicate", help="Compute images with equal bytes only once."),
)
@section(
    "Model",
    model_options,
    several(
        "--with",
        "others",
        metavar="MODEL",
        shell_complete=models,
        help="Another model in the same pass. May be repeated.",
    ),
)
@extract_options
@section(
    "Ray cluster",
    pass_as(
        "cluster",
        _choose_cluster,
        flag("--ray", help="Use a Ray cluster; without --address, a new one on this machine."),
        click.option(
            "--address",
            metavar="ADDRESS",
            shell_complete=one_of("auto"),
            help="Address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. All machines must reach the sources "
            "and the output.",
        ),
        count("--workers", help="Workers at a time, each with its own networks.  [default: as many as fit]"),
        count("--cpus", help="Processors of each worker.  [default: 1]"),
        click.option("--gpus", type=Real(0), metavar="N", help="GPUs of each worker.  [default: 0]"),
    ),
)
def embed(
    sources: "Sources",
    output: str,
    mode: "Mode | None",
    model: "ModelChoice",
    others: tuple[str, ...],
    endpoints: tuple[str, ...],
    options: "ExtractOptions",
    cluster: "RayOptions | None",
    quiet: bool,
) -> None:
    """Write the feature vectors of images to Parquet.

    SOURCES are files, folders with their subfolders, patterns such as 'photos/**/*.jpg', tar, zip and Parquet files,
    on disk or at a URL (https://, s3://, gs://), and Hugging Face datasets (hf:NAME). Each image becomes a row: path,
    embedding, width, height, status, error. Rows are in the order of the sources, and by name within a folder. If an
    image cannot be read, its row has an error, and the exit code is 3.

    If a run is interrupted, killed, or fills the disk, repeat the command to resume it. Unreachable images and shards
    are tried again.

    \b
      pnasnet embed photos/ -o features.parquet
      pnasnet embed 'shards/*.tar' s3://bucket/photos -o features/
      pnasnet embed photos/ -o features/ --add
      pnasnet embed photos/ --model pnasnet_small --endpoint Cell_3 --normalize -o features/
      find / -name '*.jpg' -print0 | pnasnet embed --files-from - -0 -o features/
      pnasnet embed photos/ --weights pnasnet-5_large_2017_12_13.tar.gz -o features.parquet
      pnasnet embed 's3://bucket/*.tar' --address ray://head:10001 --cpus 4 -o /shared/features
    """
    from ..extract import extract_to
    from ..extract.columns import ColumnBuilder
    from ..extract.output import check_output

    with checking_usage():
        check_output(output, mode, sources.names)  # before a model is downloaded
    show_logs(quiet=quiet)
    build = ColumnBuilder(
        (model, *(replace(model, model=name, weights=None) for name in others)), endpoints or ("global_pool",), options
    )
    fill = _fill(cluster, build, options, retry_errors=mode == "retry-errors")
    with stoppable_bars(quiet, "image") as progress:
        report = extract_to(output, sources, build(), options, mode=mode, fill=fill, progress=progress)
    _print(report, output, adding=mode == "add", quiet=quiet)
    if report.failed:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _fill(
    cluster: "RayOptions | None", build: "ColumnBuilder", options: "ExtractOptions", *, retry_errors: bool
) -> "Fill | None":
    """Return the function that computes rows on a cluster, which must answer; None for this machine."""
    if cluster is None:
        return None
    if options.deduplicate:
        raise click.UsageError("--deduplicate needs one machine: leave out --deduplicate or the cluster")
    from ..extract.on_ray import check_cluster, fill_on_ray

    check_cluster(cluster)
    return partial(fill_on_ray, build=build.on_workers(cluster.cpus), ray_options=cluster, retry_errors=retry_errors)


def _print(report: "Report", output: str, *, adding: bool, quiet: bool) -> None:
    new = report.failed - report.failed_before
    failed, notes = [f"failed: {line}" for line in report.errors], list[str]()
    if new > len(report.errors):
        failed.append(f"failed: {new - len(report.errors):,} more; see the column error")
    is_file = Path(output).suffix.lower() == ".parquet"
    if report.failed_before:
        again = "" if is_file else ", or try --retry-errors"  # which needs a folder
        failed.append(f"failed: {report.failed_before:,} in earlier runs; see the column error{again}")
    if report.passed_over.count:
        notes.append(str(report.passed_over))
    if report.unturned:
        notes.append(f"{counted(report.unturned, 'image')} with an EXIF orientation that was not applied; see --exif")
    if report.vanished:
        notes.append(f"no longer listed: {counted(report.vanished, 'input')} of {output}; the rows are kept")
    for line in failed if quiet else failed + notes:
        say(line, err=True)
    if not report.rows:
        hint = "nothing new is listed" if adding else "use --overwrite to start over"
        if not is_file and not adding:
            hint = "use --add to look for new images"
        say(f"{output}: already complete, with {counted(report.kept, 'row')}; {hint}")
        return
    say(
        f"{output}: {report.rows - new:,} embedded, {new:,} failed, "
        f"in {report.seconds:.1f} s ({report.rows / max(report.seconds, 1e-9):.1f} images/s)"
        + (f"; {counted(report.kept, 'row')} of earlier runs" if report.kept else "")
        + (f"; {counted(report.stages.copies, 'vector')} copied" if report.stages.copies else "")
        + f"; see {Path(output).with_suffix('.report.html') if is_file else Path(output) / '_report.html'}"
    )
