"""`pnasnet convert`."""

from pathlib import Path

import click

from ..support.files import check_target


@click.command(short_help="Convert weights to this project's own format.")
@click.argument("source")
@click.argument("output", metavar="OUT.safetensors")
@click.option("-m", "--model", metavar="NAME", help="The network, where the weights do not tell, or to be sure.")
@click.option("--float16", is_flag=True, help="Round kernels to float16: half the size, features differ by about 1e-3.")
def convert(source: str, output: str, model: str | None, float16: bool) -> None:
    """Convert weights of any origin to this project's own safetensors.

    SOURCE is a TensorFlow checkpoint (its prefix or its folder), the folder or .tar.gz of a TF-Hub module, a
    safetensors file or .pth of timm or Cadene, or the name of a network or, with --model, of a published set.
    All is checked, names, shapes and checksums; OUT is replaced where it exists.

    \b
      pnasnet convert pnasnet-5_large_2017_12_13/model.ckpt pnasnet_large.safetensors
      pnasnet convert module.tar.gz features.safetensors
      pnasnet embed photos/ --model features.safetensors -o features.parquet
    """
    from ..module.module import Module

    if Path(output).suffix != ".safetensors":
        raise click.BadParameter(f"{output} does not end in .safetensors", param_hint="OUT")
    check_target(Path(output))
    module = Module(model, source) if model else Module(source)
    module.export(output, float16=float16)
    classes = f"{module.model.spec.num_classes} classes" if module.model.spec.num_classes else "no classifier"
    click.echo(f"{output}: {module.model.name}, {classes}, {len(module.model.variables):,} variables")
