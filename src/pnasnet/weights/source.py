"""Opened weights of any origin."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .arrays import ArrayShape, LazyArrays
from .check import is_training_state
from .files import sha256
from .saved_model import HubModuleInfo


@dataclass(eq=False)
class WeightsSource(AbstractContextManager["WeightsSource"]):
    """Weights in the canonical form, open for reading. Use it as a context manager, or call `close`.

    Example:
        >>> from pnasnet import open_weights
        >>> with open_weights("model.safetensors") as weights:
        ...     weights.metadata["model"], weights.arrays.shapes["final_layer/FC/weights"]
        ('pnasnet_tiny', (960, 10))
        >>> weights = open_weights("model.safetensors")
        >>> weights.classes, weights.image_size, weights.label_offset
        (10, None, 0)
        >>> len(weights.checksum()), len(weights.file_checksum())
        (64, 64)
        >>> weights.close()
    """

    arrays: LazyArrays
    """float32 arrays in TensorFlow's layout by TF-Slim's variable names, each read when it is used."""
    format: str
    """Name of the format, such as "TensorFlow checkpoint"."""
    path: Path | None = None
    """The opened path; None for a mapping."""
    files: tuple[Path, ...] = ()
    """The files that hold the weights."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The metadata passed to `write_weights`, for this project's own files; otherwise empty."""
    hub: HubModuleInfo | None = None
    """Image size and signatures, if a SavedModel states them."""
    on_close: Callable[[], object] = lambda: None
    """Called by `close`, to remove temporary files."""

    @property
    def shapes(self) -> Mapping[str, ArrayShape]:
        """The shape of each array, known without reading it."""
        return self.arrays.shapes

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the images, if the weights state them."""
        return self.hub.image_size if self.hub else None

    @property
    def classes(self) -> int | None:
        """Number of logits; None for weights without a classifier."""
        shape = self.shapes.get("final_layer/FC/biases")
        return shape[0] if shape else None

    @property
    def label_offset(self) -> int:
        """The logit of the first class that is not the background: 1 for ImageNet's 1001 logits, 0 otherwise.

        timm drops ImageNet's background row, so its 1000 logits start with the first class.
        """
        stated = self.metadata.get("label_offset", "")
        return int(stated) if stated.isdecimal() and len(stated) < 10 else int(self.classes == 1001)

    def checksum(self) -> str:
        """Return the SHA-256 of names, shapes and values, in hexadecimal.

        Equal weights have the same checksum in every format. Training state, such as optimizer slots, does not count.
        """
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(name for name in self.arrays if not is_training_state(name)):
            digest.update(f"{name} {self.shapes[name]}\n".encode())
            digest.update(self.arrays[name].data)
        return digest.hexdigest()

    def file_checksum(self) -> str | None:
        """Return the SHA-256 of the files, as earlier development versions recorded it; None for a mapping."""
        return sha256(self.files) if self.files else None

    def close(self) -> None:
        """Release the files; arrays that were read stay valid."""
        self.arrays.close()
        self.on_close()

    def __exit__(self, *_: object) -> None:
        self.close()
