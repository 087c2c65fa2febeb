"""`pnasnet embed`."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..support.cluster import LOCAL
from .errors import EXIT_IMAGES_FAILED, Stop, stop_on_signal
from .logs import show_logs
from .options import extract_options, model_options

if TYPE_CHECKING:
    from ..extract import ExtractOptions, Report
    from ..extract.on_ray import RayOptions
    from ..module.choice import ModelChoice
    from ..pictures import Unit


@click.command()
@click.argument("sources", nargs=-1)
@click.option("-o", "--output", required=True, metavar="PATH", help="A folder, or a file whose name ends in .parquet.")
@model_options
@click.option(
    "--with", "others", multiple=True, metavar="MODEL", help="Another model in the same pass; may be repeated."
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    default=("global_pool",),
    show_default=True,
    metavar="NAME",
    help="Which vectors: also Logits, Predictions, Cell_7 and so on; may be repeated.",
)
@click.option(
    "--whole-maps", is_flag=True, help="Write endpoints that are maps as such, not averaged over their pixels."
)
@click.option(
    "--vectors", metavar="NAME", help="How numbers are written: float32, float16 or bfloat16.  [default: float32]"
)
@click.option("--normalize", is_flag=True, help="Scale vectors to length 1.")
@extract_options
@click.option(
    "--files-from", metavar="FILE", help="Take the sources that FILE lists, a line each; - is standard input."
)
@click.option("-0", "--null", is_flag=True, help="The list's entries end with a zero byte, as of find -print0.")
@click.option("--deduplicate", is_flag=True, help="Compute photos that are equal byte for byte once.")
@click.option(
    "--give-up",
    type=click.IntRange(0),
    metavar="N",
    help="End after N pictures or shards in a row that cannot be reached.  [default: 32; 0: never]",
)
@click.option("--ray", is_flag=True, help="Extract by workers on a Ray cluster, of this machine unless told otherwise.")
@click.option("--engine-address", metavar="ADDRESS", help="The Ray cluster: auto, HOST:PORT or ray://HOST:PORT.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Workers there.  [default: as many as fit]")
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="Processors of each.  [default: 1]")
@click.option("--gpus", type=click.FloatRange(0), metavar="N", help="GPUs of each.  [default: 0]")
@click.option("--resume", is_flag=True, help="Only go on where a run has stopped; without, a new one may begin, too.")
@click.option("--overwrite", is_flag=True, help="Begin anew where the output exists.")
@click.option(
    "--add",
    is_flag=True,
    help="Embed what is listed now and is not in the folder; files and shards that are in it are not looked at again, "
    "changed or not.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no word about the engine.")
def embed(
    sources: tuple[str, ...],
    output: str,
    model: "ModelChoice",
    others: tuple[str, ...],
    endpoints: tuple[str, ...],
    options: "ExtractOptions",
    files_from: str | None,
    null: bool,
    ray: bool,
    engine_address: str | None,
    workers: int | None,
    cpus: int | None,
    gpus: float | None,
    resume: bool,
    overwrite: bool,
    add: bool,
    quiet: bool,
) -> None:
    """Write the feature vectors of photos to Parquet.

    SOURCES are files, folders with all the folders in them, patterns such as 'photos/**/*.jpg', tars and WebDataset
    shards, zip and Parquet files, on disk or behind a URL (https://, s3://, gs://), and Hugging Face datasets
    (hf:NAME). Each photo becomes a row, in the order given and by name within a folder: path, embedding, width, height,
    status, error. A photo that cannot be read keeps its row, with the error, and the exit code is then 3.

    Interrupted, killed or on a full disk, the same command goes on where it was; with --resume, it does nothing else.
    With --add, photos and shards that came since to the same sources are embedded, too, as further parts of a folder.

    \b
      pnasnet embed photos/ -o features.parquet
      pnasnet embed 'shards/*.tar' s3://bucket/photos -o features/
      pnasnet embed photos/ -o features/ --add
      pnasnet embed photos/ --model pnasnet_tiny --endpoint Cell_3 --normalize -o features/
      find / -name '*.jpg' -print0 | pnasnet embed --files-from - -0 -o features/
      pnasnet embed photos/ --weights pnasnet-5_large_2017_12_13.tar.gz -o features.parquet
      pnasnet embed 's3://bucket/*.tar' --engine-address ray://head:10001 --cpus 4 -o /shared/features
    """
    from ..extract import ColumnsOf, Sources, check_sources, extract_to, extract_to_folder, list_units, read_list

    if not sources and files_from is None:
        raise click.UsageError("name at least one source, or a list with --files-from")
    if null and files_from is None:
        raise click.UsageError("--null is about a list: name one with --files-from")
    chosen = [name for name, given in (("--resume", resume), ("--overwrite", overwrite), ("--add", add)) if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude one another")
    cluster = _cluster(ray, engine_address, workers=workers, cpus=cpus, gpus=gpus)
    check_sources(sources)  # before a model is fetched
    listed = () if files_from is None else (f"--files-from={files_from}",)

    def units() -> "Iterator[Unit]":
        yield from list_units(sources)
        if files_from is not None:
            yield from list_units(read_list(files_from, null=null), listed=True)

    if cluster and options.deduplicate:
        raise click.UsageError("--deduplicate: workers on a cluster do not know each other's pictures; leave it out")
    show_logs(quiet=quiet)
    choices = (model, *(replace(model, model=name, weights=None) for name in others))
    build = ColumnsOf(choices, endpoints, options)
    extract: Any = extract_to_folder
    if cluster:
        from ..extract.on_ray import check_cluster, extract_on_ray

        extract = partial(extract_on_ray, build=build.on_workers(cluster.cpus), ray_options=cluster)
        if overwrite:
            check_cluster(cluster)  # before anything is removed
    with stop_on_signal() as stop, closing(_progress(quiet, stop)) as progress:
        report = extract_to(
            output,
            Sources(units, (*sources, *listed)),
            build(),
            options,
            extract=extract,
            resume=resume,
            overwrite=overwrite,
            add=add,
            listener=progress,
        )
    _print(report, output, add)
    if report.failed:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _cluster(ray: bool, address: str | None, **workers: Any) -> "RayOptions | None":
    """Return how a cluster is used, if one is; raise `click.UsageError` for options that are of no use without."""
    given = {name: value for name, value in workers.items() if value is not None}
    if ray or address is not None:
        from ..extract.on_ray import RayOptions

        return RayOptions(address or LOCAL, **given)
    if given:
        names = " and ".join(f"--{name}" for name in given)
        raise click.UsageError(f"{names}: of workers on a cluster; add --ray, or --engine-address")
    return None


def _progress(quiet: bool, stop: Stop) -> Any:
    """Return what shows a progress bar on standard error, and ends the run when a signal asks for it."""
    from tqdm import tqdm

    from ..extract import Listener

    class Shown(Listener):
        bar: Any = None

        def begin(self, total: int | None, kept: int) -> None:
            if kept and not quiet:
                click.echo(f"going on after the {kept:,} rows that are there", err=True)
            # Disabled by None: where standard error is no terminal. The delay: not before the first batch.
            self.bar = tqdm(total=total, initial=kept, unit="image", disable=quiet or None, delay=1e-9)

        def progress(self, rows: int) -> None:
            self.bar.update(rows)
            stop.check()

        def close(self) -> None:
            if self.bar is not None:
                self.bar.close()

    return Shown()


def _print(report: "Report", output: str, add: bool) -> None:
    for line in report.errors:
        click.echo(f"failed: {line}", err=True)
    new = report.failed - report.failed_before
    if new > len(report.errors):
        click.echo(f"failed: {new - len(report.errors):,} more; their rows say why", err=True)
    if report.failed_before:
        click.echo(f"failed: {report.failed_before:,} in earlier runs; their rows say why", err=True)
    if report.vanished:
        from ..support.text import counted

        click.echo(f"not listed any more: {counted(report.vanished, 'input')} of {output}; the rows stay", err=True)
    if not report.rows:
        hint = "nothing new is listed" if add else "--add looks for new photos"
        if Path(output).suffix == ".parquet":
            click.echo(f"{output}: written, with {report.kept:,} rows that earlier runs had left")
            return
        click.echo(f"{output}: complete already, with {report.kept:,} rows; {hint}")
        return
    click.echo(
        f"{output}: {report.rows - new:,} embedded, {new:,} failed, "
        f"in {report.seconds:.1f} s ({report.rows / report.seconds:.1f} images/s)"
        + (f"; {report.kept:,} rows were there before" if report.kept else "")
        + (f"; {report.stages.copies:,} vectors are copies" if report.stages.copies else "")
        + f"; see {_report_of(Path(output))}"
    )


def _report_of(output: Path) -> Path:
    return output.with_suffix(".report.html") if output.suffix == ".parquet" else output / "_report.html"
