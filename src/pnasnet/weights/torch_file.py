"""State dicts in `.pth` files, read by torch with `weights_only`, so that no code in them is ever run."""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptWeightsError, MissingExtraError
from .arrays import Array, LazyArrays
from .files import map_file


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
        if tensor.layout != torch.strided or tensor.numel() * tensor.element_size() > len(data):
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
