"""`pnasnet export`."""

from pathlib import Path
from typing import Any

import click

from .errors import checking_usage
from .options import ENDPOINTS, MOVING_AVERAGES, WEIGHTS, count, flag
from .printing import say
from .values import FORMATS, models, one_of, paths


@click.command(short_help="Export a network for other software and servers.")
@click.argument("model", shell_complete=models)
@click.argument("output", metavar="OUT", shell_complete=paths)
@WEIGHTS
@click.option(
    "--format",
    "kind",
    metavar="NAME",
    shell_complete=one_of(*FORMATS),
    help="onnx, openvino, triton, ovms or saved_model.  [default: by the suffix of OUT: .onnx, or .xml for openvino]",
)
@ENDPOINTS
@flag(
    "--preprocess",
    help="Include resizing and scaling, so that the model accepts uint8 [batch, height, width, 3] of any size.",
)
@click.option("--name", metavar="NAME", help="Name of the model in a repository.  [default: the network's]")
@count("--batch-size", help="Images per call of the network in Triton.  [default: 8]")
@flag("--overwrite", help="Replace an existing model in OUT.")
@MOVING_AVERAGES
def export(
    model: str, output: str, weights: str | None, kind: str | None, moving_averages: bool | None, **options: Any
) -> None:
    """Export a network for other software and servers.

    OUT ends in .onnx, or in .xml for OpenVINO's intermediate representation, whose weights go to a .bin file beside it;
    existing files are replaced. For --format saved_model (TensorFlow, Keras), OUT is a new folder. For
    --format triton and ovms (OpenVINO Model Server), OUT is a model repository: a folder of models. MODEL is a name
    from `pnasnet models`, a TF-Hub handle or URL, or the path of a file or folder with weights. The network accepts
    images, float32 [batch, height, width, 3] in [0, 1], in batches of any size; with --preprocess, it accepts decoded
    images.

    \b
      pnasnet export pnasnet_large features.onnx
      pnasnet export pnasnet_small model.xml --endpoint global_pool --endpoint Logits
      pnasnet export pnasnet_large models/ --format triton --preprocess
      pnasnet export pnasnet_large hub_module/ --format saved_model
    """
    from ..module.export import Export, format_of
    from ..module.module import Module

    with checking_usage():
        chosen = Export(Path(output), kind or format_of(Path(output)), **options)
        chosen.check()
    opened = Module(model, weights, moving_averages=moving_averages)
    written = chosen.write(opened)
    name, origin = opened.model.name, opened.model.origin
    network = name if name == origin else f"{name} ({origin})"
    say(f"{written.path}: {network}, {', '.join(written.contents)}")
