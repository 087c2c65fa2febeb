"""`pnasnet export`."""

from pathlib import Path

import click

from ..support.files import check_target
from .options import MOVING_AVERAGES


@click.command()
@click.argument("model")
@click.argument("output", metavar="OUT")
@click.option("-w", "--weights", metavar="SOURCE", help="Other weights for the model, as for `pnasnet embed`.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    default=["global_pool"],
    show_default=True,
    metavar="NAME",
    help="An output; may be given several times: Cell_5, global_pool, Logits, Predictions, ...",
)
@MOVING_AVERAGES
def export(
    model: str, output: str, weights: str | None, endpoints: tuple[str, ...], moving_averages: bool | None
) -> None:
    """Write a network for other programs.

    OUT ends in .onnx, or in .xml for OpenVINO's intermediate representation, which has its weights in a .bin beside it.
    MODEL is a name that `pnasnet models` lists, or a file or folder with weights. The network accepts images,
    float32 [batch, height, width, 3] in [0, 1], in batches of any size. An existing OUT is replaced.

    \b
      pnasnet export pnasnet_large features.onnx
      pnasnet export pnasnet_tiny model.xml --endpoint global_pool --endpoint Logits
    """
    from ..lowering.export import export_onnx, export_openvino_ir
    from ..module.module import Module

    writers = {".onnx": export_onnx, ".xml": export_openvino_ir}
    write = writers.get(Path(output).suffix)
    if write is None:
        raise click.BadParameter(f"{output} ends neither in .onnx nor in .xml", param_hint="OUT")
    check_target(Path(output))
    opened = Module(model, weights, moving_averages=moving_averages)
    write(opened.model.plan, opened.variables, output, endpoints)
    name, origin = opened.model.name, opened.model.origin
    network = name if name == origin else f"{name} ({origin})"
    click.echo(f"{output}: {network}, {', '.join(endpoints)}")
