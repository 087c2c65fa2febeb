"""Which vectors are extracted, and how they are written: a column for each model and endpoint."""

import re
from collections.abc import Sequence
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
from .options import ExtractOptions

if TYPE_CHECKING:
    from ..module.module import Module

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Column:
    """A column of vectors.

    Attributes:
        name: of the column.
        module: the network.
        endpoint: which of its outputs.
        computed: all the endpoints that the network computes for this and other columns.
        preset: the preprocessing.
        options: how the vectors are made.
    """

    name: str
    module: "Module"
    endpoint: str
    computed: tuple[str, ...]
    preset: Preset
    options: ExtractOptions

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a vector as it is written: [length], or [height, width, channels]."""
        shape = self.module.model.plan.endpoints()[self.endpoint]
        return shape if self.options.whole_maps else shape[-1:]

    @property
    def type(self) -> pa.DataType:
        """How a vector is written: a fixed-size list of float32 or float16."""
        number = pa.float16() if self.options.vectors == "float16" else pa.float32()
        return pa.list_(number, prod(self.shape))

    def finish(self, output: Floats) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return vectors [B, length] as they are written, from what the network gave: [B, length] or maps.

        A map is rectified and averaged over its pixels, as the network does before its last layer, unless whole maps
        are wanted: `Cell_11` of PNASNet-5 (large) so gives `global_pool`.
        """
        if output.ndim == 4 and not self.options.whole_maps:
            output = np.maximum(output, 0).mean((1, 2), dtype=np.float32)
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
        """Return what makes vectors comparable: rows of two files may be mixed where all of this is equal."""
        module, options = self.module, self.options
        height, width = module.image_size
        return {
            "pnasnet.version": __version__,
            "pnasnet.model": module.model.name,
            "pnasnet.weights": module.model.origin,
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


def columns_for(modules: Sequence["Module"], endpoints: Sequence[str], options: ExtractOptions) -> tuple[Column, ...]:
    """Return a column for each model and endpoint: `embedding`, or, where there are several, `embedding_NAME`.

    Raises:
        UnknownNameError: a model has no such endpoint, or there is no such preset.
        InputError: two columns would have the same name.
    """
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
        raise InputError("two of the models or endpoints have the same name: take each once, in a run of its own")
    return tuple(columns)


@dataclass(frozen=True)
class ColumnBuilder:
    """Builds the columns of models and endpoints on any machine: called, it opens the models."""

    models: tuple[ModelChoice, ...]
    endpoints: tuple[str, ...]
    options: ExtractOptions

    def on_workers(self, cpus: int) -> "ColumnBuilder":
        """Return the same for workers of `cpus` processors, whose engines and decoders take no more than these."""
        engines = [replace(choice.engine, threads=choice.engine.threads or cpus) for choice in self.models]
        models = tuple(replace(choice, engine=own) for choice, own in zip(self.models, engines, strict=True))
        options = replace(self.options, decoders=self.options.decoders or cpus)
        return replace(self, models=models, options=options)

    def __call__(self) -> tuple[Column, ...]:
        """Open the models, and return a column for each of them and each endpoint."""
        return columns_for([choice.open() for choice in self.models], self.endpoints, self.options)


def _rounded_to_bfloat16(vectors: Floats) -> Floats:
    """Round to the nearest bfloat16, ties to even. They stay float32, which every reader knows, and compress well."""
    bits = vectors.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32)
