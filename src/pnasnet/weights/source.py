"""Weights that have been opened, whatever they came from."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType

from .arrays import LazyArrays, Shape
from .files import sha256
from .saved_model import HubModuleInfo


@dataclass(eq=False)
class WeightsSource:
    """Weights of any origin in the canonical form, open for reading; use it in a `with` statement, or close it."""

    arrays: LazyArrays
    """TF-Slim's variable names to float32 arrays in TensorFlow's layout, each read when it is asked for."""
    format: str
    """What they were read from, for a person, such as "TensorFlow checkpoint"."""
    path: Path | None = None
    """What was opened; None for a mapping."""
    files: tuple[Path, ...] = ()
    """The files that hold the weights."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What one of this project's own files says of itself, as given to `write_weights`; else empty, or others'."""
    hub: HubModuleInfo | None = None
    """What a SavedModel says of itself."""
    on_close: Callable[[], object] = lambda: None

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Name to shape, known without reading an array."""
        return self.arrays.shapes

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the images, where the weights tell."""
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
        """Return a SHA-256, in hexadecimal, that names these weights.

        Of one file it is that file's; of a checkpoint that of its index and shards, one after the other; of a mapping
        that of its names, shapes and values. Files are hashed once for as long as they do not change.
        """
        return sha256(self.files) if self.files else self._checksum_of_arrays

    @cached_property
    def _checksum_of_arrays(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.arrays):
            digest.update(f"{name} {self.shapes[name]}\n".encode())
            digest.update(self.arrays[name].data)
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the files; arrays that were read stay."""
        self.arrays.close()
        self.on_close()

    def __enter__(self) -> "WeightsSource":
        """Return the source."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the source."""
        self.close()
