"""`EngineOptions`: all options of an engine as one value."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, UnknownNameError
from ..support.typed import convert_fields

ENGINES = ("auto", "openvino", "torch", "fake")
"""Names of the engines; `fake` is for tests."""
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
"""Quantized models are `int8`, and no others."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs a network.

    Raises `UnknownNameError` for an unknown engine or precision, and `InputError` for values of another type or fewer
    than one thread.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.engines import EngineOptions
        >>> Module("pnasnet_tiny", engine=EngineOptions("openvino", threads=1)).precision
        'float32'
    """

    engine: str = "auto"
    """`openvino`, `torch`, `fake` (for tests), or `auto`: torch if there is a CUDA device, else OpenVINO, else torch.

    The choice of `auto` and its reason are logged at level INFO.
    """
    precision: str | None = None
    """`float32`, `bfloat16` or `float16` (torch only); None for `float32`, or for `int8` of a quantized model."""
    threads: int | None = None
    """Number of CPU threads; None for one per core, within the container's quota."""
    device: str | None = None
    """Device such as `CPU` or `cuda`, in the engine's own terms; None for the engine's choice."""
    cache_dir: Path | None = None
    """Folder of compiled models; None for `compiled` in `pnasnet.support.paths.cache_dir()`."""

    def __post_init__(self) -> None:
        convert_fields(self, threads=1)
        if self.engine not in ENGINES:
            raise UnknownNameError.of("engine", self.engine, [name for name in ENGINES if name != "fake"])
        if self.precision not in (None, *PRECISIONS):
            raise UnknownNameError.of("precision", str(self.precision), PRECISIONS)


DEFAULTS = EngineOptions()


def engine_options(engine: str | EngineOptions, precision: str | None, threads: int | None) -> EngineOptions:
    """Return the options that a caller passed whole, or as single values. Raises `InputError` for both at once."""
    if not isinstance(engine, EngineOptions):
        return EngineOptions(engine, precision, threads)
    if precision is not None or threads is not None:
        raise InputError("engine has all options of the engine: pass precision and threads to EngineOptions")
    return engine
