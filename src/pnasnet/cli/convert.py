"""`pnasnet convert`."""

from pathlib import Path

import click

from .errors import check_file
from .options import MOVING_AVERAGES, flag
from .printing import say
from .values import models, networks, paths


@click.command(short_help="Convert weights to this project's own format, or to timm's.")
@click.argument("source", shell_complete=models)
@click.argument("output", metavar="OUT.safetensors", shell_complete=paths)
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=networks,
    help="Network that the weights must match.  [default: their own]",
)
@flag("--float16", help="Round kernels to float16: half the size, features differ by about 1e-3.")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["pnasnet", "timm"]),
    default="pnasnet",
    show_default=True,
    help="timm: a state dict of its pnasnet5large or nasnetalarge, without ImageNet's background class.",
)
@MOVING_AVERAGES
def convert(
    source: str, output: str, model: str | None, float16: bool, kind: str, moving_averages: bool | None
) -> None:
    """Convert weights of any origin to this project's own safetensors format, or to timm's.

    SOURCE is a TensorFlow checkpoint (its prefix or its folder), the folder or .tar.gz of a TF-Hub module, a
    safetensors or .pth file of timm, Cadene or a torch network, or the name of a model or of a published set. Names,
    shapes and checksums are checked. An existing OUT is replaced. Equal weights give byte-identical files.

    \b
      pnasnet convert pnasnet-5_large_2017_12_13/model.ckpt pnasnet_large.safetensors
      pnasnet convert module.tar.gz features.safetensors
      pnasnet convert pnasnet_large timm.safetensors --to timm
      pnasnet embed photos/ --model features.safetensors -o features.parquet
    """
    from ..module.module import Module

    if kind == "timm" and float16:
        raise click.UsageError("--float16 is for --to pnasnet: timm's files are float32")
    check_file(output, ".safetensors", (source,))
    module = Module(model or source, source if model else None, moving_averages=moving_averages)
    if kind == "timm":
        from ..integrations.timm_weights import write_timm

        written = write_timm(module, Path(output))
        say(f"{output}: {written.model}, {written.classes:,} classes, {written.tensors:,} tensors")
        return
    module.export(output, float16=float16)
    classes = f"{module.model.spec.num_classes} classes" if module.model.spec.num_classes else "no classifier"
    say(f"{output}: {module.model.name}, {classes}, {len(module.model.variables):,} variables")
