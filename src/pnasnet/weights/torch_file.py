"""Reads state dicts in `.pth` files by torch with `weights_only`, so that code in them never runs."""

import argparse
import logging
import pickle
import pickletools
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import CorruptWeightsError, MissingExtraError, WeightsError
from .arrays import Array, LazyArrays
from .files import MappedFile

log = logging.getLogger(__name__)

_KEYS = ("state_dict", "model", "model_state_dict", "net", "network")
"""Keys under which training scripts store the state dict."""
_AVERAGES_KEYS = ("state_dict_ema", "model_ema", "ema")
_PICKLES = 5
"""Pickles at the start of a file written before torch 1.6: magic number, version, machine, state dict, storages."""


def read_state_dict(path: Path, moving_averages: bool | None = None) -> LazyArrays:
    """Return the floating-point tensors of the state dict at `path`.

    The state dict may be part of a training checkpoint, under a key such as `state_dict` or `model`. If there is also
    one of moving averages (`state_dict_ema`, `model_ema`), `moving_averages` chooses; None prefers the averages.

    Raises:
        MissingExtraError: torch is not installed.
        CorruptWeightsError: the file is damaged, contains code, or holds no state dict.
        WeightsError: `moving_averages` asks for a state dict that the file lacks.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError.of("torch", "torch", f"reading {path.name}") from None
    data = MappedFile(path).bytes
    zipped = data[:2].tobytes() == b"PK"
    if zipped:
        _check_zip(path, len(data))
    _check_pickles(path, zipped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles, which the user cannot change
            # timm's training checkpoints hold their arguments as a Namespace, which has no behaviour.
            with torch.serialization.safe_globals([argparse.Namespace]):
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CorruptWeightsError(
            f"{path} is damaged, or contains code or objects, which are never loaded: save model.state_dict() alone, "
            "or use a safetensors file"
        ) from error
    except Exception as error:  # on arbitrary bytes an unpickler may raise anything
        raise CorruptWeightsError(f"{path} is damaged: torch cannot read it ({type(error).__name__})") from error
    tensors = _floating(_state_dict(loaded, moving_averages, path))
    if not tensors:
        raise CorruptWeightsError(f"{path} holds no state dict: save model.state_dict() of the network")
    for name, tensor in tensors.items():
        # A view may repeat its storage without end; a tensor of a state dict is no larger than its file.
        # A model without weights has tensors on the meta device.
        is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not is_plain or tensor.numel() * tensor.element_size() > len(data):
            raise CorruptWeightsError(f"{path} is damaged: {name} claims the shape {tuple(tensor.shape)}")

    def read(name: str) -> Array:
        return np.array(tensors[name].detach().to(torch.float32).numpy(), order="C")

    return LazyArrays({name: tuple(tensor.shape) for name, tensor in tensors.items()}, read)


def _check_zip(path: Path, size: int) -> None:
    """Check the sizes and the checksums of a zip file, which torch does not."""
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if sum(member.file_size for member in members) > size:  # torch stores its records uncompressed
                raise zipfile.BadZipFile("it claims more than it holds")
            damaged = file.testzip()
    except Exception as error:  # on arbitrary bytes zipfile may raise anything, too
        raise CorruptWeightsError(f"{path} is damaged: {error}; download it again") from error
    if damaged is not None:
        raise CorruptWeightsError(f"{path} is damaged: the checksum of {damaged!r} is wrong; download it again")


def _check_pickles(path: Path, zipped: bool) -> None:
    """Raise `CorruptWeightsError` for byte arrays, and for strings longer than the file: torch would allocate them."""
    with suppress(ValueError, OSError, EOFError, zipfile.BadZipFile):  # torch reports what is not a pickle
        if zipped:
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if member.filename.endswith("data.pkl"):
                        with archive.open(member) as file:
                            _check_pickle(_Bounded(file, member.file_size, path), path)
        else:
            with path.open("rb") as file:
                bounded = _Bounded(file, path.stat().st_size, path)
                for _ in range(_PICKLES):
                    _check_pickle(bounded, path)


def _check_pickle(file: "_Bounded", path: Path) -> None:
    for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type] # it needs no more than this
        if opcode.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise CorruptWeightsError(f"{path} is damaged: it asks for a bytearray; use a file of tensors alone")


class _Bounded:
    """A file that refuses reads of more bytes than it has, because Python would allocate them first."""

    def __init__(self, file: IO[bytes], size: int, path: Path) -> None:
        self._file, self._size, self._path = file, size, path

    def read(self, count: int) -> bytes:
        if count > self._size:
            raise CorruptWeightsError(f"{self._path} is damaged: it claims {count:,} bytes, and has {self._size:,}")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline()

    def tell(self) -> int:
        return self._file.tell()


def _state_dict(loaded: Any, moving_averages: bool | None, path: Path) -> Any:
    """Return the state dict in an object that a training script saved."""
    if not isinstance(loaded, dict):
        return {}
    found = {key: loaded[key] for key in (*_KEYS, *_AVERAGES_KEYS) if isinstance(loaded.get(key), dict)}
    plain, averages = (next((key for key in keys if key in found), None) for keys in (_KEYS, _AVERAGES_KEYS))
    if moving_averages and not averages:
        raise WeightsError(f"{path} holds no moving averages: leave out moving_averages=True")
    if moving_averages is False and averages and not plain:
        raise WeightsError(f"{path} holds only moving averages: leave out moving_averages=False")
    key = plain if moving_averages is False else averages or plain
    if averages:
        log.info("%s: %r is used, of %s", path, key, " and ".join(map(repr, found)))
    return found[key] if key else loaded


def _floating(state: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and hasattr(value, "is_floating_point") and value.is_floating_point()
    }
