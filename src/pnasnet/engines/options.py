"""Options of engines, passed as one value."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, UnknownNameError

ENGINES = ("auto", "openvino", "torch", "fake")
"""Names of the engines; `fake` is for tests."""
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
"""`int8` is the precision of a quantized model, and of no other."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs a network.

    Raises `UnknownNameError` for an unknown engine or precision, and `InputError` for fewer than one thread.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.engines import EngineOptions
        >>> Module("pnasnet_tiny", engine=EngineOptions("openvino", threads=1)).precision
        'float32'
    """

    engine: str = "auto"
    """`openvino`, `torch`, `fake` (for tests), or `auto`: torch if there is a CUDA device, else OpenVINO, else torch.

    The choice of `auto`, and the reason, are logged at level INFO.
    """
    precision: str = "float32"
    """`float32`, `bfloat16`, or `float16` (torch alone). A quantized model runs in `int8`, which `Module` chooses."""
    threads: int | None = None
    """Number of CPU threads; None for one per core."""
    device: str | None = None
    """Device such as `CPU` or `cuda`, in the engine's own terms; None for the engine's choice."""
    cache_dir: Path | None = None
    """Folder of compiled models; None for `compiled` in `pnasnet.support.paths.cache_dir()`."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UnknownNameError.of("engine", self.engine, [name for name in ENGINES if name != "fake"])
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, PRECISIONS)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, not {self.threads}")


DEFAULTS = EngineOptions()
