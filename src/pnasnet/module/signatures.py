"""The common signatures for images: names, inputs, outputs, and the arguments of a call.

Source: TF-Hub's "Common signatures for images" and the pages of the pnasnet_large modules (version 3 for the forms
with batch-norm hyper-parameters).
"""

import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, UnknownNameError
from .open import Model

WITH_BN_HPARAMS = "_with_bn_hparams"
"""Suffix of the signatures that also accept `batch_norm_momentum`; only the training variant has them."""

_VARIANTS: tuple[frozenset[str], ...] = (frozenset(), frozenset({"train"}))

RANGE_TOLERANCE = 1e-3
"""Tolerance for pixel values outside [0, 1], which bicubic resizing can produce."""

Endpoints = tuple[str, ...]


@dataclass(frozen=True)
class TensorInfo:
    """Shape (None for the batch) and dtype of an input or output."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Call:
    """The arguments of a call."""

    images: Any
    signature: str
    batch_norm_momentum: float | None = None


class Signatures:
    """The signatures of one module."""

    def __init__(self, model: Model, *, training: bool, new_classes: bool) -> None:
        """Choose the names: those that the weights state, or all that the default signature implies.

        Args:
            model: the network and its weights.
            training: whether this is the training variant of the graph.
            new_classes: whether the classifier is new; its signatures are then always included.

        Raises `InputError` if the default signature returns logits and there is no classifier.
        """
        plan, default = model.plan, model.default_signature
        if default == "image_classification" and not plan.spec.num_classes:
            raise InputError(
                "this is a classification module, and the weights have no classifier: use the feature_vector module, "
                "or weights with a classifier"
            )
        hub = model.weights.hub if model.weights else None
        stated = (hub.training_signatures or hub.signatures if training else hub.signatures) if hub else {}
        if new_classes:
            default, stated = (None if default == "image_feature_vector" else default), {}
        self._plan = plan
        self._default = default or "image_feature_vector"
        plain = ["image_feature_vector"]
        if plan.spec.num_classes and default != "image_feature_vector":
            plain.append("image_classification")
        possible = ["default", *plain, *([name + WITH_BN_HPARAMS for name in plain] if training else [])]
        self.names = [name for name in possible if name in stated] if "default" in stated else possible

    def endpoint(self, signature: str) -> str:
        """Return the endpoint that is the `default` output of a signature."""
        self._known(signature)
        name = self._default if signature == "default" else signature.removesuffix(WITH_BN_HPARAMS)
        return "Logits" if name == "image_classification" else "global_pool"

    def endpoints(self, signature: str) -> Endpoints:
        """Return every endpoint that `as_dict=True` returns beside `default`."""
        classifies = self.endpoint(signature) == "Logits"
        return tuple(e for e in self._plan.endpoints() if classifies or e not in ("Logits", "Predictions"))

    def inputs(self, signature: str) -> dict[str, TensorInfo]:
        """Return the inputs of a signature."""
        self._known(signature)
        images = {"images": TensorInfo((None, *self._plan.spec.image_size, 3))}
        return images | ({"batch_norm_momentum": TensorInfo(())} if signature.endswith(WITH_BN_HPARAMS) else {})

    def outputs(self, signature: str) -> dict[str, TensorInfo]:
        """Return the outputs of a signature with `as_dict=True`."""
        shapes = self._plan.endpoints()
        names = {"default": self.endpoint(signature), **{e: e for e in self.endpoints(signature)}}
        return {name: TensorInfo((None, *shapes[endpoint])) for name, endpoint in names.items()}

    def parse(self, inputs: Any, signature: str | None) -> Call:
        """Check the arguments of a call; see `Module.__call__` for the errors."""
        signature = signature or "default"
        self._known(signature)
        momentum = None
        if isinstance(inputs, Mapping):
            accepted = self.inputs(signature)
            unknown = set(inputs) - set(accepted)
            if unknown or "images" not in inputs:
                given = ", ".join(map(repr, inputs)) or "nothing"
                raise InputError(f"signature {signature!r} accepts {', '.join(accepted)}; the call passed {given}")
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
        hint = "divide by 255, and " if dtype == "uint8" else ""
        raise InputError(f"images are {given}; expected {expected}: {hint}convert to float32")
    if shape[0] and not _is_remote(images):
        values = images.detach() if hasattr(images, "detach") else images
        low, high = float(values.min()), float(values.max())
        if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
            found = "NaN among their values" if math.isnan(low) else f"values from {low:g} to {high:g}"
            raise InputError(f"images have {found}; expected {expected}")


def _is_tensor(images: Any) -> bool:
    """Return whether it is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(images, torch.Tensor)


def _is_remote(images: Any) -> bool:
    """Return whether reading the values would block on a GPU."""
    return not isinstance(images, np.ndarray) and images.device.type != "cpu"


def variant(tags: Collection[str] | None) -> frozenset[str]:
    """Return the tags of a graph variant. Raises `UnknownNameError` if there is no variant with these tags."""
    given = [] if tags is None else [tags] if isinstance(tags, str) or not isinstance(tags, Collection) else list(tags)
    names = sorted(map(str, given))
    if frozenset(names) not in _VARIANTS or isinstance(tags, str):
        raise UnknownNameError(f"No such graph variant: tags={names}; known: [] and ['train']")
    return frozenset(names)
