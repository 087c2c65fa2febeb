"""Opens weights of all supported formats, recognised by content, under TF-Slim's names."""

import os
import re
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CorruptWeightsError, WeightsError, WeightsNotFoundError
from ..support.arguments import checked
from ..support.other_files import FIRST, other_file
from ..support.paths import exists
from ..support.urls import redact
from . import keras_file, quantized
from .arrays import LazyArrays, from_mapping
from .bundle import Bundle, checkpoint_prefix, find_checkpoint
from .canonical import choose_averages, to_canonical
from .files import MappedFile, reading
from .saved_model import read_constants, read_module_info, read_object_names
from .source import WeightsSource

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+(.+)", re.DOTALL)
"""Matches a URL; a `Path` has merged its slashes into one."""
_SAVED_MODEL = "saved_model.pb"
_STATE_DICT = "PyTorch state dict"
_ZIP = b"PK\x03\x04"
_KNOWN = (
    "a TensorFlow V2 checkpoint (.index and .data files), a SavedModel or TF1 hub module (saved_model.pb and "
    "variables/) or its .tar.gz, a safetensors file, a state dict (.pth), weights of Keras (.h5, "
    ".keras), or a folder that pnasnet quantize wrote"
)


@checked
def open_weights(
    source: str | os.PathLike[str] | Mapping[str, Any], *, moving_averages: bool | None = None
) -> WeightsSource:
    """Open weights for reading; no array is read yet.

    Args:
        source: a checkpoint's prefix (`folder/model.ckpt`), any of its files or its folder; the folder of a TF1 hub
            module or a TF2 SavedModel, or its `.tar.gz`; a safetensors file of this project, of timm or of a torch
            network's state dict, or a folder that holds one; a folder of a quantized model; a `.pth` state dict or
            training checkpoint; an `.h5`, `.weights.h5` or `.keras` file of Keras; or a mapping from names to
            arrays or tensors: TF-Slim's names with TensorFlow's layout, or a torch state dict.
        moving_averages: whether to use the moving averages of the variables, in files that hold both; None uses them
            if there are any, and logs the choice.

    Raises:
        WeightsNotFoundError: the path does not exist, holds no weights, or is a URL.
        CorruptWeightsError: the bytes are damaged or contradict themselves. Checksums of tensors are checked when the
            tensors are read.
        WeightsError: the weights cannot be read, or are ambiguous, or lack what `moving_averages` asks for.
        MissingExtraError: a `.pth` file without torch, or a file of Keras without pyfive.
        InputError: a mapping of something else.

    Example:
        >>> from pnasnet import open_weights
        >>> with open_weights("checkpoint/model.ckpt") as weights:
        ...     weights.format, weights.arrays["final_layer/FC/biases"].shape
        ('TensorFlow checkpoint', (5,))
    """
    if isinstance(source, Mapping):
        return _canonical(WeightsSource(from_mapping(source), "mapping"), moving_averages)
    if url := _URL.fullmatch(os.fspath(source)):
        shown = redact(f"{url[1]}://{url[2]}")
        raise WeightsNotFoundError(f"{shown} is a URL: download the file, and pass its path")
    path = Path(source)
    if exists(path):
        opened = _open_folder(path) if path.is_dir() else _open_file(path, moving_averages)
    elif exists(f"{path}.index"):
        opened = _open_checkpoint(path, path)
    else:
        raise WeightsNotFoundError(f"{path} does not exist: pass {_KNOWN}")
    # For a state dict, the reader has already chosen: it has one dict for each.
    return _canonical(opened, None if opened.format == _STATE_DICT else moving_averages)


def _canonical(source: WeightsSource, moving_averages: bool | None) -> WeightsSource:
    origin = str(source.path) if source.path else "the given mapping"
    arrays, names = to_canonical(source.arrays, origin)
    kind = f"timm {source.format}" if names == "timm" and source.format == "safetensors" else source.format
    return replace(source, arrays=choose_averages(arrays, moving_averages, origin), format=kind)


def _open_folder(folder: Path) -> WeightsSource:
    with reading(folder):
        names = {entry.name for entry in folder.iterdir()}
    if quantized.MANIFEST in names:
        return quantized.read_quantized(folder)
    if _SAVED_MODEL in names:
        return _open_saved_model(folder)
    if prefix := find_checkpoint(folder):
        return _open_checkpoint(prefix, folder)
    tensors = sorted(name for name in names if name.endswith(".safetensors"))
    if len(tensors) == 1:
        return _open_safetensors(folder / tensors[0])
    if tensors:
        raise WeightsError(f"{folder} holds several safetensors files: name one of them: {', '.join(tensors[:20])}")
    raise WeightsNotFoundError(f"{folder} holds no weights: looked for {_KNOWN}")


def _open_file(path: Path, moving_averages: bool | None) -> WeightsSource:
    prefix = checkpoint_prefix(path)
    if prefix != path:
        return _open_checkpoint(prefix, path)
    if path.name in (_SAVED_MODEL, "checkpoint", quantized.MANIFEST, quantized.GRAPH, quantized.VALUES):
        return _open_folder(path.parent)
    head = MappedFile(path).bytes[:FIRST].tobytes()
    if not head:
        raise CorruptWeightsError(f"{path} is empty: download it again")
    if head[8:9] == b"{":  # after the header's size, its JSON
        return _open_safetensors(path)
    if head.startswith(b"\x1f\x8b"):
        return _open_archive(path)
    if head.startswith(keras_file.SIGNATURE) or (head.startswith(_ZIP) and keras_file.is_keras_archive(path)):
        return WeightsSource(keras_file.read_keras(path), "Keras weights", path, (path,))
    if head.startswith((_ZIP, b"\x80")):  # torch's zip file, or a pickle of torch before 1.6
        return _open_state_dict(path, moving_averages)
    if other := other_file(head):
        raise CorruptWeightsError(f"{path} is {other.name}, not weights: {other.for_weights or f'pass {_KNOWN}'}")
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    raise CorruptWeightsError(f"{path} has no known format: pass {_KNOWN}")


def _open_checkpoint(prefix: Path, path: Path) -> WeightsSource:
    bundle = Bundle(prefix)
    return WeightsSource(_bundle_arrays(bundle), "TensorFlow checkpoint", path, bundle.files)


def _open_saved_model(folder: Path) -> WeightsSource:
    hub = read_module_info(folder / _SAVED_MODEL)
    prefix = folder / "variables" / "variables"
    bundle = Bundle(prefix) if prefix.with_name("variables.index").exists() else None
    if (bundle is None or not bundle.shapes) and (frozen := read_constants(folder / _SAVED_MODEL)):
        return WeightsSource(frozen, "frozen SavedModel", folder, (folder / _SAVED_MODEL,), hub=hub)
    bundle = bundle or Bundle(prefix)  # whose error names what is missing
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
    """Return the folder of the weights in the unpacked archive, however deep."""
    for place, _, names in os.walk(folder):
        if _SAVED_MODEL in names or any(name.endswith(".index") for name in names):
            return Path(place)
    raise WeightsNotFoundError(f"{archive} holds no weights: looked for a TensorFlow checkpoint or a SavedModel")


def _open_safetensors(path: Path) -> WeightsSource:
    from . import native

    arrays, metadata = native.read_safetensors(path)
    if metadata.get("format") == native.FORMAT:
        return WeightsSource(arrays, "pnasnet safetensors", path, (path,), metadata)
    return WeightsSource(arrays, "safetensors", path, (path,))  # the metadata of other programs have other meanings


def _open_state_dict(path: Path, moving_averages: bool | None) -> WeightsSource:
    from .torch_file import read_state_dict

    return WeightsSource(read_state_dict(path, moving_averages), _STATE_DICT, path, (path,))
