"""Writes models into repositories of NVIDIA's Triton Inference Server and OpenVINO Model Server.

Sources: Triton's "Model Repository" and "Model Configuration"; OpenVINO Model Server's "Preparing a Model Repository"
and "Starting the Server".
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..architecture.plan import Plan
from ..errors import InputError, OutputError
from ..images import Preset
from ..support.files import read_json, write_json, write_text, writing
from ..support.folders import check_new_folder, replacing_folder
from ..support.locks import locked
from .export import DEFAULT_OUTPUTS, export_onnx, export_openvino_ir
from .folding import Weights
from .onnx_graph import INPUT

VERSION = "1"
"""The version of an exported model; both servers serve the folder with the highest number."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CONFIG = "config.json"
_MODELS = "model_config_list"
_PRECISION = {"plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}}
"""Without it, OpenVINO computes in bfloat16 on CPUs that have it."""


@dataclass(frozen=True)
class RepositoryEntry:
    """A model in a repository.

    Attributes:
        repository: the folder of all models; created if it does not exist.
        name: the model's name, for clients and for its folder.
        overwrite: whether to replace a model of this name.
    """

    repository: Path
    name: str
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.repository / self.name

    def check(self, files: Collection[str]) -> None:
        """Raise `InputError` or `OutputError` if the model cannot be written, before any work is done for it.

        `files` are those of the model's folder, from `triton_files` or `ovms_files`.
        """
        if not _NAME.fullmatch(self.name) or self.name == _CONFIG:
            raise InputError(
                f"{self.name!r} cannot be the name of a model in a repository: pass --name (name=...), made of "
                f"letters, digits, dots, dashes and underscores, and not {_CONFIG}"
            )
        if self.repository.is_dir():
            check_new_folder(self.folder, files, overwrite=self.overwrite)
        else:
            check_new_folder(self.repository, ())

    def create_repository(self, files: Collection[str]) -> None:
        """Create the folder of all models, if needed, and repeat `check`."""
        self.check(files)
        with writing(self.repository):
            self.repository.mkdir(exist_ok=True)


def triton_files(name: str) -> tuple[str, ...]:
    """Return the files in a model's folder for Triton."""
    return "config.pbtxt", f"{VERSION}/model.onnx"


def ovms_files(name: str) -> tuple[str, ...]:
    """Return the files in a model's folder for OpenVINO Model Server."""
    return f"{VERSION}/{name}.xml", f"{VERSION}/{name}.bin"


def export_triton(
    plan: Plan,
    weights: Weights,
    entry: RepositoryEntry,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    metadata: Mapping[str, str] | None = None,
    preprocess: Preset | None = None,
    *,
    max_batch_size: int,
) -> None:
    """Write `NAME/1/model.onnx` and `NAME/config.pbtxt` for Triton's ONNX Runtime backend, both or neither.

    Triton collects waiting requests into batches of at most `max_batch_size` images. The other arguments and the
    errors are those of `export_onnx` and `RepositoryEntry.check`.
    """
    files = triton_files(entry.name)
    entry.create_repository(files)
    with replacing_folder(entry.folder, files, overwrite=entry.overwrite) as folder:
        (folder / VERSION).mkdir()
        export_onnx(plan, weights, folder / VERSION / "model.onnx", outputs, metadata, preprocess)
        write_text(folder / "config.pbtxt", triton_config(plan, entry.name, outputs, preprocess, max_batch_size))


def triton_config(plan: Plan, name: str, outputs: Sequence[str], preprocess: Preset | None, max_batch_size: int) -> str:
    """Return a `config.pbtxt`; its shapes leave out the batch, which Triton adds."""
    pixels = ("TYPE_UINT8", (-1, -1, 3)) if preprocess else ("TYPE_FP32", (*plan.spec.image_size, 3))
    shapes = plan.endpoints()
    lines = [
        f'name: "{name}"',
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {max_batch_size}",
        _triton_tensor("input", INPUT, *pixels),
        *(_triton_tensor("output", output, "TYPE_FP32", shapes[output]) for output in outputs),
        "dynamic_batching { }",
    ]
    return "\n".join(lines) + "\n"


def _triton_tensor(kind: str, name: str, dtype: str, shape: Sequence[int]) -> str:
    dims = ", ".join(map(str, shape))
    return f'{kind} {{\n  name: "{name}"\n  data_type: {dtype}\n  dims: [ {dims} ]\n}}'


def export_ovms(
    plan: Plan,
    weights: Weights,
    entry: RepositoryEntry,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    metadata: Mapping[str, str] | None = None,
    preprocess: Preset | None = None,
) -> None:
    """Write `NAME/1/NAME.xml` and `.bin`, and list the model in the repository's `config.json`, to run in float32.

    Other models in `config.json`, and settings of a model that it lists already, stay. The arguments and errors are
    those of `export_openvino_ir` and `RepositoryEntry.check`; also `InputError` for a
    `config.json` that is not OpenVINO Model Server's.
    """
    files = ovms_files(entry.name)
    entry.create_repository(files)
    with locked(entry.repository):
        config = _with_model(_read_config(entry.repository / _CONFIG), entry)
        with replacing_folder(entry.folder, files, overwrite=entry.overwrite) as folder:
            (folder / VERSION).mkdir()
            export_openvino_ir(plan, weights, folder / VERSION / f"{entry.name}.xml", outputs, metadata, preprocess)
        write_json(entry.repository / _CONFIG, config)


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path, "fix it, or choose another folder")
    if config is None:
        return {_MODELS: []}
    models = config.get(_MODELS, []) if isinstance(config, dict) else None
    if not isinstance(models, list) or not all(
        isinstance(model, dict) and isinstance(model.get("config"), dict) for model in models
    ):
        raise InputError(f"{path} is not a configuration of OpenVINO Model Server: fix it, or choose another folder")
    return {**config, _MODELS: models}


def _with_model(config: dict[str, Any], entry: RepositoryEntry) -> dict[str, Any]:
    """Return the configuration with the model listed, at a path relative to `config.json`."""
    for model in config[_MODELS]:
        if model["config"].get("name") == entry.name:
            if model["config"].get("base_path") != entry.name and not entry.overwrite:
                raise OutputError(
                    f"{entry.repository / _CONFIG} lists a model {entry.name} in another folder: choose another name, "
                    "or pass --overwrite (overwrite=True)"
                )
            model["config"]["base_path"] = entry.name
            return config
    config[_MODELS].append({"config": {"name": entry.name, "base_path": entry.name, **_PRECISION}})
    return config
