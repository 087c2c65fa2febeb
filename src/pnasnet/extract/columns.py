"""The columns of vectors, one for each model and endpoint: their values, types and metadata."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._version import __version__
from ..errors import InputError, UnknownNameError
from ..images import Preset, get_preset
from ..module.choice import ModelChoice
from ..module.pictures import averaged
from ..support.arguments import checked
from ..support.urls import redact
from .options import ExtractOptions

if TYPE_CHECKING:
    from ..module.module import Module

Floats = NDArray[np.float32]
ColumnVectors = Mapping[str, NDArray[np.floating]]
"""The vectors of each column, by its name: [n, F], or [F] for one image."""


@dataclass(frozen=True)
class Column:
    """A column of vectors: one endpoint of one network.

    Attributes:
        name: name of the column.
        module: the network.
        endpoint: the output of the network.
        computed: all endpoints that the network computes in one pass, for this column and others.
        preset: the preprocessing.
        options: pooling, number format and normalisation.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import ExtractOptions, columns_for
        >>> (column,) = columns_for([Module("pnasnet_tiny")], ["Cell_1"], ExtractOptions())
        >>> column.name, column.endpoint
        ('embedding', 'Cell_1')
        >>> column.shape, column.type, column.metadata()["pnasnet.endpoint"]
        ((480,), FixedSizeListType(fixed_size_list<item: float>[480]), 'Cell_1')
        >>> import numpy as np
        >>> column.finish(np.ones((1, 8, 8, 480), np.float32)).shape  # the mean of the 8x8 positions
        (1, 480)
    """

    name: str
    module: "Module"
    endpoint: str
    computed: tuple[str, ...]
    preset: Preset
    options: ExtractOptions

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one vector: [F], or [height, width, channels] for a whole map."""
        shape = self.module.model.plan.endpoints()[self.endpoint]
        return shape if self.options.whole_maps else shape[-1:]

    @property
    def type(self) -> pa.DataType:
        """Arrow type of one vector: a fixed-size list of float32 or float16. Maps are flattened."""
        number = pa.float16() if self.options.vectors == "float16" else pa.float32()
        return pa.list_(number, prod(self.shape))

    def finish(self, output: Floats) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return the vectors to write, [B, F], for a network's output: [B, F], or maps [B, h, w, C].

        Maps are averaged over positions, as by `Module.embed`, unless `options.whole_maps`.
        """
        if not self.options.whole_maps:
            output = averaged(output)
        vectors = output.reshape(len(output), -1)
        if self.options.normalize:
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
        match self.options.vectors:
            case "float16":
                return vectors.astype(np.float16)
            case "bfloat16":
                return _rounded_to_bfloat16(vectors)
        return vectors

    def metadata(self) -> dict[str, str]:
        """Return the column's metadata. Vectors are comparable if all values but version and engine are equal."""
        module, options = self.module, self.options
        height, width = module.image_size
        return {
            "pnasnet.version": __version__,
            "pnasnet.model": redact(module.model.name),
            "pnasnet.weights": redact(module.model.origin),
            "pnasnet.weights_sha256": module.model.checksum or "",
            "pnasnet.endpoint": self.endpoint,
            "pnasnet.shape": "x".join(map(str, self.shape)),
            "pnasnet.preset": self.preset.name,
            "pnasnet.image_size": f"{height}x{width}",
            "pnasnet.exif": str(self.preset.exif if options.exif is None else options.exif).lower(),
            "pnasnet.precision": module.precision,
            "pnasnet.vectors": options.vectors,
            "pnasnet.normalized": str(options.normalize).lower(),
            "pnasnet.engine": module.engine_for(self.computed).description,
        }


@checked
def columns_for(modules: Sequence["Module"], endpoints: Sequence[str], options: ExtractOptions) -> tuple[Column, ...]:
    """Return a column for each model and endpoint: `embedding`, or `embedding_NAME` if there are several.

    Raises:
        UnknownNameError: a model has no such endpoint, or there is no such preset.
        InputError: there are no models or no endpoints, or two columns would have the same name.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import ExtractOptions, columns_for
        >>> columns = columns_for([Module("pnasnet_tiny")], ["Cell_1", "global_pool"], ExtractOptions())
        >>> [column.name for column in columns]
        ['embedding_Cell_1', 'embedding_global_pool']
    """
    if not modules or not endpoints:
        raise InputError(f"there is no {'endpoint' if modules else 'model'} to compute: name at least one")
    columns = []
    computed = tuple(dict.fromkeys(endpoints))
    for module in modules:
        for endpoint in endpoints:
            known = module.model.plan.endpoints()
            if endpoint not in known:
                raise UnknownNameError.of("endpoint", endpoint, list(known))
            parts = ["embedding"]
            parts += [Path(module.model.name).stem] if len(modules) > 1 else []
            parts += [endpoint] if len(endpoints) > 1 else []
            preset = get_preset(options.preset or module.preset)
            columns.append(Column(re.sub(r"\W", "_", "_".join(parts)), module, endpoint, computed, preset, options))
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise InputError("two of the models or endpoints have the same name: extract them in separate runs")
    return tuple(columns)


@dataclass(frozen=True)
class ColumnBuilder:
    """A picklable function that opens the models on the machine where it runs, and returns their columns."""

    models: tuple[ModelChoice, ...]
    endpoints: tuple[str, ...]
    options: ExtractOptions

    def on_workers(self, cpus: int) -> "ColumnBuilder":
        """Return a builder whose engines and decoders have `cpus` threads, unless their number is set."""
        engines = [replace(choice.engine, threads=choice.engine.threads or cpus) for choice in self.models]
        models = tuple(replace(choice, engine=own) for choice, own in zip(self.models, engines, strict=True))
        options = replace(self.options, decoders=self.options.decoders or cpus)
        return replace(self, models=models, options=options)

    def __call__(self) -> tuple[Column, ...]:
        """Open the models, and return their columns."""
        return columns_for([choice.open() for choice in self.models], self.endpoints, self.options)


def _rounded_to_bfloat16(vectors: Floats) -> Floats:
    """Round to the nearest bfloat16, ties to even, but return float32, which every reader supports."""
    bits = vectors.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32)
