"""`pnasnet embed`."""

from typing import TYPE_CHECKING

import click

from .errors import EXIT_IMAGES_FAILED, stop_on_signal
from .options import ModelOptions, extract_options, model_options

if TYPE_CHECKING:
    from ..extract import ExtractOptions, Report


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="FILE", help="The Parquet file to write.")
@model_options
@click.option("--endpoint", default="global_pool", show_default=True, metavar="NAME", help="Or Logits, or Predictions.")
@extract_options
@click.option("--overwrite", is_flag=True, help="Replace the output where it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no word about the engine.")
def embed(
    sources: tuple[str, ...],
    output: str,
    model: ModelOptions,
    options: "ExtractOptions",
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write the feature vectors of photos to a Parquet file.

    SOURCES are files, folders, with all the folders in them, and patterns such as 'photos/**/*.jpg'. Each photo becomes
    a row, in the order given and by name within a folder: path, embedding, width, height, status, error. A photo that
    cannot be read keeps its row, with the error, and the exit code is then 3.

    Until the end the file is called FILE's name with .partial; interrupted, or on a full disk, the rows done are there.

    \b
      pnasnet embed photos/ -o features.parquet
      pnasnet embed a.jpg 'more/*.png' --model pnasnet_tiny -o features.parquet
      pnasnet embed photos/ --weights pnasnet-5_large_2017_12_13.tar.gz -o features.parquet
    """
    from tqdm import tqdm

    from ..extract import extract_to_parquet, find_images

    paths = find_images(sources)
    module = model.open(quiet=quiet)
    # Disabled by None: where standard error is no terminal. The delay: not before the first batch.
    bar = tqdm(total=len(paths), unit="image", disable=quiet or None, delay=1e-9)
    with bar, stop_on_signal() as stop:

        def progress(rows: int) -> None:
            bar.update(rows)
            stop.check()

        report = extract_to_parquet(module, paths, output, options, overwrite=overwrite, progress=progress)
    _print(report)
    if report.failed:
        raise SystemExit(EXIT_IMAGES_FAILED)


def _print(report: "Report") -> None:
    for line in report.errors:
        click.echo(f"failed: {line}", err=True)
    if report.failed > len(report.errors):
        click.echo(f"failed: {report.failed - len(report.errors):,} more; their rows say why", err=True)
    rate = report.rows / report.seconds
    click.echo(
        f"{report.path}: {report.rows - report.failed:,} embedded, {report.failed:,} failed, "
        f"in {report.seconds:.1f} s ({rate:.1f} images/s)"
    )
