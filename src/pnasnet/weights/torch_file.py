"""State dicts in `.pth` files, read by torch with `weights_only`, so that no code in them is ever run."""

import pickle
import pickletools
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import CorruptWeightsError, MissingExtraError
from .arrays import Array, LazyArrays
from .files import map_file

_PICKLES = 5
"""At the beginning of a file as torch wrote it before 1.6: magic number, version, machine, state dict, storages."""


def read_state_dict(path: Path) -> LazyArrays:
    """Return the floating-point tensors of the state dict at `path`, also of one under the key `state_dict`.

    Raises:
        MissingExtraError: torch is not installed.
        CorruptWeightsError: the file is damaged, holds code, or holds no state dict.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError.of("torch", "torch", f"reading {path.name}") from None
    data = map_file(path)
    zipped = data[:2].tobytes() == b"PK"
    if zipped:
        _check_zip(path, len(data))
    _check_pickles(path, zipped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickles, about which nobody can do anything
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CorruptWeightsError(
            f"{path} is damaged, or a pickle with code in it, which is never run: get a file of tensors alone, "
            "such as a safetensors file"
        ) from error
    except Exception as error:  # what an unpickler raises when it is fed arbitrary bytes has no bounds
        raise CorruptWeightsError(f"{path} is damaged: torch cannot read it ({type(error).__name__})") from error
    tensors = _floating(loaded)
    if not tensors:
        raise CorruptWeightsError(f"{path} holds no state dict: save model.state_dict() of the network")
    for name, tensor in tensors.items():
        # A view may repeat its storage without end; a tensor of a state dict is no larger than its file.
        strange = tensor.layout != torch.strided or tensor.device.type != "cpu"  # as of a model without weights
        if strange or tensor.numel() * tensor.element_size() > len(data):
            raise CorruptWeightsError(f"{path} is damaged: {name} claims the shape {tuple(tensor.shape)}")

    def read(name: str) -> Array:
        return np.array(tensors[name].detach().to(torch.float32).numpy(), order="C")

    return LazyArrays({name: tuple(tensor.shape) for name, tensor in tensors.items()}, read)


def _check_zip(path: Path, size: int) -> None:
    """Check the sizes and the checksums of a zip file, which torch leaves unread."""
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if sum(member.file_size for member in members) > size:  # torch stores its records uncompressed
                raise zipfile.BadZipFile("it claims more than it holds")
            damaged = file.testzip()
    except Exception as error:  # as with torch below
        raise CorruptWeightsError(f"{path} is damaged: {error}; get it again") from error
    if damaged is not None:
        raise CorruptWeightsError(f"{path} is damaged: the checksum of {damaged!r} does not hold; get it again")


def _check_pickles(path: Path, zipped: bool) -> None:
    """Refuse what torch lets pass, but no state dict has: bytes in any number that the file names, all at once."""
    with suppress(ValueError, OSError, EOFError, zipfile.BadZipFile):  # what is no pickle, torch will tell
        if zipped:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith("data.pkl"):
                        _check_pickle(archive.open(name), path)
        else:
            with path.open("rb") as file:
                for _ in range(_PICKLES):
                    _check_pickle(file, path)


def _check_pickle(file: IO[bytes], path: Path) -> None:
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise CorruptWeightsError(f"{path} is damaged: it asks for a bytearray; get a file of tensors alone")


def _floating(loaded: Any) -> dict[str, Any]:
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        return {}
    return {
        name: value
        for name, value in loaded.items()
        if isinstance(name, str) and hasattr(value, "is_floating_point") and value.is_floating_point()
    }
