"""Writes networks as ONNX models, and in OpenVINO's intermediate representation.

Both accept `images`, [batch, height, width, 3] float32 in [0, 1], of any batch size, and compute the chosen endpoints.
With preprocessing they accept decoded images, uint8, of any size.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..architecture.plan import Plan
from ..errors import InputError, OutputError
from ..images import Preset
from ..support.contexts import contextmanager
from ..support.files import check_target, replacing, writing
from .folding import Weights
from .onnx_graph import build
from .onnx_preprocess import add_preprocessing

if TYPE_CHECKING:
    import onnx

DEFAULT_OUTPUTS = ("global_pool",)


def export_onnx(
    plan: Plan,
    weights: Weights,
    path: str | PathLike[str],
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    metadata: Mapping[str, str] | None = None,
    preprocess: Preset | None = None,
) -> None:
    """Write the network as an ONNX model. Equal arguments write equal bytes.

    Args:
        plan: the network.
        weights: TF-Slim's variable names to arrays in TensorFlow's layout.
        path: the file to write, whole or not at all; an existing file is replaced.
        outputs: names from `plan.endpoints()`.
        metadata: entries of the model's key-value store.
        preprocess: the preset whose crop, scaling and resizing become part of the model; None for none.

    Raises:
        UnknownNameError: no such endpoint.
        InputError: `path` does not end in .onnx, or a model cannot contain the preprocessing.
        OutputError: the file cannot be written.
    """
    check_target(Path(path), ".onnx")
    model = _build(plan, weights, outputs, metadata, preprocess)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def export_openvino_ir(
    plan: Plan,
    weights: Weights,
    path: str | PathLike[str],
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    metadata: Mapping[str, str] | None = None,
    preprocess: Preset | None = None,
) -> None:
    """Write the network as an OpenVINO model: `path` (.xml) and, beside it, its float32 weights (.bin).

    Arguments and errors are those of `export_onnx`, but `path` must end in `.xml`. `metadata` is stored in the model's
    runtime information, under `pnasnet`. An old .xml file is removed before the new files are moved into place: if
    that is interrupted, no .xml file is left.
    """
    import openvino

    target = Path(path)
    if target.suffix != ".xml":
        raise InputError(f"OpenVINO's models are called NAME.xml, not {target.name}")
    check_target(target)
    check_no_stray_bin(target)
    proto = _build(plan, weights, outputs, None, preprocess)
    model = openvino.Core().read_model(proto.SerializeToString(deterministic=True))
    for key, value in (metadata or {}).items():
        model.set_rt_info(value, ["pnasnet", key])
    with _writing(target), TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        written = Path(folder, target.name)
        openvino.save_model(model, written, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            with written.with_suffix(suffix).open("rb+") as file:
                os.fsync(file.fileno())
        # Old and new files must never be found side by side.
        target.unlink(missing_ok=True)
        for suffix in (".bin", ".xml"):
            written.with_suffix(suffix).replace(target.with_suffix(suffix))


def check_no_stray_bin(path: Path) -> None:
    """Raise `OutputError` if a .bin file would be replaced that does not belong to an existing model at `path`."""
    stray = path.with_suffix(".bin")
    if stray.exists() and not path.exists():
        raise OutputError(f"{stray} exists without {path.name}: remove it, or choose another name")


def _build(
    plan: Plan,
    weights: Weights,
    outputs: Sequence[str],
    metadata: Mapping[str, str] | None,
    preprocess: Preset | None,
) -> "onnx.ModelProto":
    model = build(plan, weights, outputs, metadata)
    if preprocess:
        add_preprocessing(model, plan.spec.image_size, preprocess)
    return model


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError, or OpenVINO's RuntimeError in its place, into an `OutputError`."""
    try:
        with writing(path):
            yield
    except RuntimeError as error:
        raise OutputError(f"cannot write {path} (is the disk full?): {str(error).strip().splitlines()[-1]}") from error
