"""One door for weights of every origin: the format is told by the content, the names come out as TF-Slim's."""

import os
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CorruptWeightsError, WeightsError, WeightsNotFoundError
from .arrays import LazyArrays, from_mapping
from .bundle import Bundle, checkpoint_prefix, find_checkpoint
from .files import map_file, reading
from .saved_model import read_module_info, read_object_names
from .source import WeightsSource
from .timm import looks_like_timm, to_slim

_SAVED_MODEL = "saved_model.pb"
_KNOWN = (
    "a TensorFlow V2 checkpoint (.index and .data files), a SavedModel or TF1 hub module (saved_model.pb and "
    "variables/) or its .tar.gz, a safetensors file, or a state dict (.pth)"
)


def open_weights(source: str | os.PathLike[str] | Mapping[str, Any]) -> WeightsSource:
    """Open weights for reading; of the arrays none is read yet.

    Args:
        source: a checkpoint's prefix (`folder/model.ckpt`), any of its files or its folder; the folder of a TF1 hub
            module or a TF2 SavedModel, or its `.tar.gz`; a safetensors file of this project or of timm, or a folder
            that holds one; a `.pth` state dict of timm or Cadene; or a mapping from TF-Slim's variable names to
            arrays in TensorFlow's layout.

    Raises:
        WeightsNotFoundError: there is nothing there, or nothing known.
        CorruptWeightsError: the bytes are damaged or claim what cannot be. Checksums of tensors are checked when the
            tensors are read.
        WeightsError: it cannot be read, or it is ambiguous.
        MissingExtraError: a `.pth` file, and torch is not installed.
        InputError: a mapping of something else.
    """
    if isinstance(source, Mapping):
        return WeightsSource(from_mapping(source), "mapping")
    path = Path(source)
    if path.is_dir():
        return _open_folder(path)
    if path.exists():
        return _open_file(path)
    if path.with_name(f"{path.name}.index").exists():
        return _open_checkpoint(path, path)
    raise WeightsNotFoundError(f"{path} does not exist: give {_KNOWN}")


def _open_folder(folder: Path) -> WeightsSource:
    with reading(folder):
        names = {entry.name for entry in folder.iterdir()}
    if _SAVED_MODEL in names:
        return _open_saved_model(folder)
    if prefix := find_checkpoint(folder):
        return _open_checkpoint(prefix, folder)
    tensors = sorted(name for name in names if name.endswith(".safetensors"))
    if len(tensors) == 1:
        return _open_safetensors(folder / tensors[0])
    if tensors:
        raise WeightsError(f"{folder} holds several safetensors files, name one of them: {', '.join(tensors[:20])}")
    raise WeightsNotFoundError(f"{folder} holds no weights: looked for {_KNOWN}")


def _open_file(path: Path) -> WeightsSource:
    prefix = checkpoint_prefix(path)
    if prefix != path:
        return _open_checkpoint(prefix, path)
    if path.name in (_SAVED_MODEL, "checkpoint"):
        return _open_folder(path.parent)
    head = map_file(path)[:9].tobytes()
    if not head:
        raise CorruptWeightsError(f"{path} is empty: get it again")
    if head[8:] == b"{" or path.suffix == ".safetensors":  # after the header's size, its JSON
        return _open_safetensors(path)
    if head.startswith(b"\x1f\x8b"):
        return _open_archive(path)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # torch's zip file, or a pickle as torch wrote before
        return _open_state_dict(path)
    raise CorruptWeightsError(f"{path} is of no known format: give {_KNOWN}")


def _open_checkpoint(prefix: Path, path: Path) -> WeightsSource:
    bundle = Bundle(prefix)
    return WeightsSource(_bundle_arrays(bundle), "TensorFlow checkpoint", path, bundle.files)


def _open_saved_model(folder: Path) -> WeightsSource:
    hub = read_module_info(folder / _SAVED_MODEL)
    bundle = Bundle(folder / "variables" / "variables")
    arrays = _bundle_arrays(bundle)
    is_tf1 = (folder / "tfhub_module.pb").exists()
    return WeightsSource(arrays, "TF1 hub module" if is_tf1 else "TF2 SavedModel", folder, bundle.files, hub=hub)


def _bundle_arrays(bundle: Bundle) -> LazyArrays:
    arrays = LazyArrays(bundle.shapes, bundle.read)
    names = read_object_names(bundle)
    return arrays if names is None else arrays.renamed(names)


def _open_archive(path: Path) -> WeightsSource:
    from .archive import unpack

    folder = unpack(path)
    try:
        source = _open_folder(_find_folder(folder, path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    remove = weakref.finalize(source.arrays, shutil.rmtree, folder, ignore_errors=True)
    return replace(source, path=path, files=(path,), on_close=remove)


def _find_folder(folder: Path, archive: Path) -> Path:
    """Return where in the unpacked archive the weights are: at its top, or in a folder as deep as need be."""
    for place, _, names in os.walk(folder):
        if _SAVED_MODEL in names or any(name.endswith(".index") for name in names):
            return Path(place)
    raise WeightsNotFoundError(f"{archive} holds no weights: looked for a TensorFlow checkpoint or a SavedModel")


def _open_safetensors(path: Path) -> WeightsSource:
    from . import native

    arrays, metadata = native.read_safetensors(path)
    if metadata.get("format") == native.FORMAT:
        return WeightsSource(arrays, "pnasnet safetensors", path, (path,), metadata)
    if looks_like_timm(arrays.shapes):
        return WeightsSource(to_slim(arrays), "timm safetensors", path, (path,))
    return WeightsSource(arrays, "safetensors", path, (path,))  # what others state of theirs is no business of ours


def _open_state_dict(path: Path) -> WeightsSource:
    from .torch_file import read_state_dict

    return WeightsSource(to_slim(read_state_dict(path)), "PyTorch state dict", path, (path,))
