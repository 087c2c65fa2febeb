"""Exports a module to the formats of other software."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError, UnknownNameError
from ..images import Preset, get_preset
from ..lowering.export import DEFAULT_OUTPUTS, check_no_stray_bin, export_onnx, export_openvino_ir
from ..lowering.onnx_preprocess import check_preprocess
from ..lowering.repositories import RepositoryEntry, export_ovms, export_triton, ovms_files, triton_files
from ..lowering.saved_model import FILES as SAVED_MODEL_FILES
from ..lowering.saved_model import export_saved_model
from ..support.files import check_target
from ..support.folders import check_new_folder
from ..support.typed import whole_number
from .module import Module
from .signatures import Signatures

BATCH_SIZE = 8
"""Default limit of the batches that Triton forms."""

_SUFFIXES = {".onnx": "onnx", ".xml": "openvino"}
_ACCEPTED = {
    "onnx": {"endpoints", "preprocess"},
    "openvino": {"endpoints", "preprocess"},
    "triton": {"endpoints", "preprocess", "name", "batch_size", "overwrite"},
    "ovms": {"endpoints", "preprocess", "name", "overwrite"},
    "saved_model": {"overwrite"},
}
"""The options of each format."""

FORMATS = tuple(_ACCEPTED)


def format_of(path: Path) -> str:
    """Return the format of a file by its suffix. Raises `InputError` for any other."""
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path} ends neither in .onnx nor in .xml: name such a file, or choose a --format")
    return _SUFFIXES[path.suffix]


@dataclass(frozen=True)
class Exported:
    """An exported model: its file or folder, and its endpoints, or the signatures of a SavedModel."""

    path: Path
    contents: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """An exported model to write: its format, options and path.

    Attributes:
        path: the file; for saved_model, the folder; for triton and ovms, the repository, which is a folder of models.
        format: one of `FORMATS`.
        endpoints: the outputs; empty for the features, `global_pool`.
        preprocess: whether the model resizes and scales images, as the module's preset does.
        name: the model's name in a repository; None for the network's.
        batch_size: the largest batch that Triton forms; None for `BATCH_SIZE`.
        overwrite: whether to replace an existing folder. Files are always replaced.

    Example:
        >>> from pathlib import Path
        >>> from pnasnet import Module
        >>> from pnasnet.module.export import Export
        >>> export = Export(Path("tiny.onnx"), "onnx", ("global_pool", "Logits"), preprocess=True)
        >>> export.check()
        >>> export.write(Module("pnasnet_tiny")).contents
        ('global_pool', 'Logits')
    """

    path: Path
    format: str
    endpoints: tuple[str, ...] = ()
    preprocess: bool = False
    name: str | None = None
    batch_size: int | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raise an error for options that the format does not have, and for a path that cannot be written.

        Call it before opening the module, which may be slow.

        Raises:
            UnknownNameError: unknown format.
            InputError: an option that the format does not have, a name that no repository accepts, or a batch size that
                is not a whole number from 1 up.
            OutputError: the path cannot be written, or exists and `overwrite` is not set.
        """
        if self.format not in FORMATS:
            raise UnknownNameError.of("format", self.format, FORMATS)
        for option in ("endpoints", "preprocess", "name", "batch_size", "overwrite"):
            if getattr(self, option) not in (None, (), [], "", False) and option not in _ACCEPTED[self.format]:
                name = "endpoint" if option == "endpoints" else option.replace("_", "-")
                raise InputError(f"the format {self.format} has no option {name}: leave it out")
        if self.batch_size is not None:
            whole_number("batch_size", self.batch_size)
        if self.format in _SUFFIXES.values():
            if _SUFFIXES.get(self.path.suffix) != self.format:
                suffix = next(suffix for suffix, name in _SUFFIXES.items() if name == self.format)
                raise InputError(f"{self.path} does not end in {suffix}: name such a file, or choose another format")
            check_target(self.path)
            if self.format == "openvino":
                check_no_stray_bin(self.path)
        elif self.format == "saved_model":
            check_new_folder(self.path, SAVED_MODEL_FILES, overwrite=self.overwrite)
        elif self.name:
            files = triton_files if self.format == "triton" else ovms_files
            self._entry(self.name).check(files(self.name))
        elif not self.path.is_dir():
            check_new_folder(self.path, ())

    def write(self, module: Module) -> Exported:
        """Write the module.

        Raises:
            UnknownNameError: unknown format or endpoint.
            InputError: as `check`; or a model cannot contain the module's preprocessing.
            OutputError: as `check`, and for any failure to write.
        """
        self.check()
        preset, outputs = self._preset(module), self.endpoints or DEFAULT_OUTPUTS
        arguments = (module.model.plan, module.variables)
        if self.format in _SUFFIXES.values():
            export_file: Callable[..., None] = {"onnx": export_onnx, "openvino": export_openvino_ir}[self.format]
            export_file(*arguments, self.path, outputs, preprocess=preset)
            return Exported(self.path, outputs)
        if self.format == "saved_model":
            signatures = _signatures(module)
            export_saved_model(*arguments, self.path, signatures, overwrite=self.overwrite)
            return Exported(self.path, tuple(signatures))
        entry = self._entry(self.name or module.model.name)
        export_folder: dict[str, Callable[..., Any]] = {
            "triton": partial(export_triton, max_batch_size=self.batch_size or BATCH_SIZE),
            "ovms": export_ovms,
        }
        export_folder[self.format](*arguments, entry, outputs, preprocess=preset)
        return Exported(entry.folder, outputs)

    def _entry(self, name: str) -> RepositoryEntry:
        return RepositoryEntry(self.path, name, self.overwrite)

    def _preset(self, module: Module) -> Preset | None:
        if not self.preprocess:
            return None
        preset = get_preset(module.preset)
        check_preprocess(preset)
        return preset


def _signatures(module: Module) -> dict[str, dict[str, str]]:
    """Return the signatures of a SavedModel: the module's, and `serving_default` for TensorFlow Serving."""
    new_classes = "image_classification" in module.get_signature_names()
    known = Signatures(module.model, training=False, new_classes=new_classes)
    outputs = {
        name: {"default": known.endpoint(name), **{endpoint: endpoint for endpoint in known.endpoints(name)}}
        for name in known.names
    }
    return {**outputs, "serving_default": {"default": outputs["default"]["default"]}}
