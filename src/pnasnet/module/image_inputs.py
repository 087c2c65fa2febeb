"""The image size and channels of a module, under the names of TF-Hub's functions."""

from ..errors import UnknownNameError
from ..support.arguments import checked
from .module import Module
from .signatures import TensorInfo


@checked
def get_expected_image_size(module: Module, signature: str | None = None, input_name: str | None = None) -> list[int]:
    """Return [height, width] of a module's images, as `hub.get_expected_image_size` did.

    Raises `UnknownNameError` (a `ValueError`) if the signature has no such input.

    Example:
        >>> import pnasnet
        >>> pnasnet.get_expected_image_size(pnasnet.Module("pnasnet_tiny"))
        [32, 32]
    """
    shape = _image_input(module, signature, input_name).shape
    return [int(n) for n in shape[1:3] if n]


@checked
def get_num_image_channels(module: Module, signature: str | None = None, input_name: str | None = None) -> int:
    """Return the number of channels of a module's images: 3. Raises like `get_expected_image_size`.

    Example:
        >>> import pnasnet
        >>> pnasnet.get_num_image_channels(pnasnet.Module("pnasnet_tiny"))
        3
    """
    shape = _image_input(module, signature, input_name).shape
    return (shape[3] or 0) if len(shape) == 4 else 0


def _image_input(module: Module, signature: str | None, input_name: str | None) -> TensorInfo:
    name = input_name or "images"
    inputs = module.get_input_info_dict(signature)
    if name not in inputs:
        raise UnknownNameError(f"Module is missing input {name!r} in signature {signature or 'default'!r}.")
    return inputs[name]
