"""Networks as files for other programs: ONNX, and OpenVINO's intermediate representation.

Both take `images`, [batch, height, width, 3] float32 in [0, 1], of any batch size, and compute the endpoints asked for.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from ..architecture.plan import Plan
from ..errors import InputError, OutputError
from ..support.files import replacing
from .onnx_graph import Weights, build

DEFAULT_OUTPUTS = ("global_pool",)


def export_onnx(
    plan: Plan,
    weights: Weights,
    path: str | PathLike[str],
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the network as an ONNX model; equal arguments give equal files.

    Args:
        plan: the network.
        weights: TF-Slim's variable names to arrays in TensorFlow's layout.
        path: the file to write; whatever happens, it holds a whole model or what it held before.
        outputs: names from `plan.endpoints()`.
        metadata: what to write into the model's key-value store.

    Raises:
        UnknownNameError: no such endpoint; OutputError: the file could not be written.

    """
    model = build(plan, weights, outputs, metadata)
    with _telling_failures(path), replacing(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def export_openvino_ir(
    plan: Plan,
    weights: Weights,
    path: str | PathLike[str],
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the network as OpenVINO's `path` (.xml) and, beside it, the float32 weights (.bin).

    Arguments and errors are those of `export_onnx`, but that an old description is removed before the new files take
    their places, so that where this is interrupted there is none; `metadata` goes into the model's runtime information,
    under `pnasnet`. `InputError` where `path` does not end in `.xml`.
    """
    import openvino

    target = Path(path)
    if target.suffix != ".xml":
        raise InputError(f"OpenVINO's models are called NAME.xml, not {target.name}")
    proto = build(plan, weights, outputs)
    model = openvino.Core().read_model(proto.SerializeToString(deterministic=True))
    for key, value in (metadata or {}).items():
        model.set_rt_info(value, ["pnasnet", key])
    with _telling_failures(target), TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        written = Path(folder, target.name)
        openvino.save_model(model, written, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            with written.with_suffix(suffix).open("rb+") as file:
                os.fsync(file.fileno())
        # An old description must not be found beside new weights, nor a new one beside old.
        target.unlink(missing_ok=True)
        for suffix in (".bin", ".xml"):
            written.with_suffix(suffix).replace(target.with_suffix(suffix))


@contextmanager
def _telling_failures(path: str | PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    except RuntimeError as error:
        raise OutputError(f"cannot write {path} (is the disk full?): {str(error).strip().splitlines()[-1]}") from error
