"""The common signatures for images: their names, inputs and outputs, and what a call may hand over.

Source: TF-Hub's "Common signatures for images" and the pages of the pnasnet_large modules (version 3 for the forms
with batch-norm hyper-parameters).
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..architecture.plan import Plan
from ..architecture.zoo import Signature
from ..errors import InputError, UnknownNameError

WITH_BN_HPARAMS = "_with_bn_hparams"
"""Ending of the signatures that also take `batch_norm_momentum`; only graph variants for training have them."""

RANGE_TOLERANCE = 1e-3
"""By how much pixel values may leave [0, 1], as a bicubic resize's rounding may."""

Endpoints = tuple[str, ...]


@dataclass(frozen=True)
class TensorInfo:
    """Shape (None for the batch) and dtype of an input or output."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Call:
    """The arguments of a call, taken apart."""

    images: Any
    signature: str
    batch_norm_momentum: float | None = None


class Signatures:
    """The signatures of one module."""

    def __init__(self, plan: Plan, default: Signature | None, *, training: bool, new_classes: bool = False) -> None:
        """`default` names what a TF-Hub handle promised; without one, features are the default and logits are there.

        So they are with `new_classes`, those of a classifier that was asked for. Raises `InputError` where logits are
        promised, and there is no classifier.
        """
        if default == "image_classification" and not plan.spec.num_classes:
            raise InputError(
                "the handle is of a classification, and the weights have no classifier: "
                "take that of the feature_vector, or weights that have one"
            )
        self._plan = plan
        names: list[Signature] = ["image_feature_vector"]
        if plan.spec.num_classes and (default != "image_feature_vector" or new_classes):
            names.append("image_classification")
        self._default = default or "image_feature_vector"
        hparams = [name + WITH_BN_HPARAMS for name in names] if training else []
        self.names = ["default", *names, *hparams]

    def endpoint(self, signature: str) -> str:
        """Return the endpoint that is the `default` output of a signature."""
        self._known(signature)
        name = self._default if signature == "default" else signature.removesuffix(WITH_BN_HPARAMS)
        return "Logits" if name == "image_classification" else "global_pool"

    def endpoints(self, signature: str) -> Endpoints:
        """Return every endpoint that `as_dict=True` gives beside `default`."""
        classifies = self.endpoint(signature) == "Logits"
        return tuple(e for e in self._plan.endpoints() if classifies or e not in ("Logits", "Predictions"))

    def inputs(self, signature: str) -> dict[str, TensorInfo]:
        """Return what a signature takes."""
        self._known(signature)
        images = {"images": TensorInfo((None, *self._plan.spec.image_size, 3))}
        return images | ({"batch_norm_momentum": TensorInfo(())} if signature.endswith(WITH_BN_HPARAMS) else {})

    def outputs(self, signature: str) -> dict[str, TensorInfo]:
        """Return what a signature gives with `as_dict=True`."""
        shapes = self._plan.endpoints()
        names = {"default": self.endpoint(signature), **{e: e for e in self.endpoints(signature)}}
        return {name: TensorInfo((None, *shapes[endpoint])) for name, endpoint in names.items()}

    def parse(self, inputs: Any, signature: str | None) -> Call:
        """Take the arguments of a call apart and check them; see `Module.__call__` for the errors."""
        signature = signature or "default"
        self._known(signature)
        momentum = None
        if isinstance(inputs, Mapping):
            takes = self.inputs(signature)
            unknown = set(inputs) - set(takes)
            if unknown or "images" not in inputs:
                given = ", ".join(map(repr, inputs)) or "nothing"
                raise InputError(f"signature {signature!r} takes {', '.join(takes)}; the call gave {given}")
            inputs, momentum = inputs["images"], inputs.get("batch_norm_momentum")
        check_images(inputs, self._plan.spec.image_size)
        return Call(inputs, signature, None if momentum is None else _momentum(momentum))

    def _known(self, signature: str) -> None:
        if signature not in self.names:
            raise UnknownNameError.of("signature", signature, self.names)


def _momentum(given: Any) -> float:
    try:
        momentum = float(given)
    except (TypeError, ValueError):
        raise InputError(f"batch_norm_momentum must be a number, not {given!r}") from None
    if not 0 <= momentum < 1:
        raise InputError(f"batch_norm_momentum must be in [0, 1), not {momentum}")
    return momentum


def check_images(images: Any, size: tuple[int, int]) -> None:
    """Raise `InputError` unless `images` is a NumPy array or torch tensor [batch, *size, 3], float32, in [0, 1]."""
    expected = f"[batch, {size[0]}, {size[1]}, 3] float32 in [0, 1]"
    if not isinstance(images, np.ndarray) and not _is_tensor(images):
        raise InputError(f"images must be an array {expected}, not {type(images).__name__}")
    shape, dtype = images.shape, str(images.dtype).removeprefix("torch.")
    given = f"{list(shape)} {dtype}"
    if len(shape) != 4 or shape[3] != 3 or tuple(shape[1:3]) != tuple(size):
        hint = "; add a batch dimension" if len(shape) == 3 else ""
        raise InputError(f"images are {given}; expected {expected}{hint}")
    if dtype != "float32":
        hint = "divide by 255 and" if dtype == "uint8" else "please"
        raise InputError(f"images are {given}; expected {expected}: {hint} convert to float32")
    if shape[0] and not _is_remote(images):
        low, high = float(images.min()), float(images.max())
        if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
            raise InputError(f"images have values from {low:g} to {high:g}; expected {expected}")


def _is_tensor(images: Any) -> bool:
    """Whether it is a tensor of torch's, which is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(images, torch.Tensor)


def _is_remote(images: Any) -> bool:
    """Whether looking at the values would make a GPU wait."""
    return not isinstance(images, np.ndarray) and images.device.type != "cpu"
