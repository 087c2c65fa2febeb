"""What a training runs on: decides how fast it is, not what a recipe says."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..errors import InputError, MissingExtraError, UnknownNameError
from ..support.system import processors

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}
"""Our names of precisions to Lightning's; in bfloat16 the weights stay float32."""
ACCELERATORS = ("auto", "cpu", "gpu")
LOGGERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
"""The packages that each needs one of."""


@dataclass(frozen=True)
class Machine:
    """What a training runs on; what comes out differs by rounding, and where batches are shared out by more.

    Several devices, and several parts of a batch, each normalize what they have by its own statistics, as TF-Slim's
    replicas do. Raises `InputError` and `UnknownNameError`.
    """

    accelerator: str = "auto"
    """`cpu`, `gpu` or `auto`."""
    devices: int | str = "auto"
    """How many of them on each machine: a number, or `auto` for all GPUs, or one CPU."""
    nodes: int = 1
    """How many machines, each of which runs the same command (or SLURM runs it)."""
    precision: str = "float32"
    """`float32`, or `bfloat16`, which GPUs with tensor cores compute several times faster."""
    channels_last: bool = True
    """How activations lie in memory; faster on CPUs and in reduced precision."""
    compile: bool = False
    """Whether steps run through `torch.compile`."""
    checkpoint_cells: bool = False
    """Whether each cell is computed again in the backward pass: less memory, about a third more time."""
    parts: int = 1
    """How many parts a device takes its share of a batch in, one after the other: less memory, one step."""
    workers: int | None = None
    """Processes that decode pictures, for each device; None shares out the processors, 0 decodes where it trains."""
    validate_every: int = 1
    """After how many epochs each the validation pictures are looked at; after the last one they always are."""
    loggers: tuple[Any, ...] = ()
    """Where figures go beside the folder's own CSV: names (`tensorboard`, `wandb`), or Lightning's `Logger`s."""
    progress: bool = True
    """Whether to show progress bars, on standard error."""

    def __post_init__(self) -> None:
        """Check names and numbers."""
        if self.accelerator not in ACCELERATORS:
            raise UnknownNameError.of("accelerator", self.accelerator, ACCELERATORS)
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, list(PRECISIONS))
        for logger in self.loggers:
            if isinstance(logger, str) and logger not in LOGGERS:
                raise UnknownNameError.of("logger", logger, list(LOGGERS))
        for name in ("nodes", "parts", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.devices != "auto" and (not isinstance(self.devices, int) or self.devices < 1):
            raise InputError(f"devices must be a number from 1 up, or 'auto', not {self.devices!r}")
        if self.workers is not None and self.workers < 0:
            raise InputError(f"workers must be 0 or more, not {self.workers}")

    def workers_for(self, devices: int) -> int:
        """Return the processes that decode for one of `devices` on this machine."""
        return max(processors() // devices, 1) if self.workers is None else self.workers


DEFAULTS = Machine()


def check_loggers(machine: Machine) -> None:
    """Raise `MissingExtraError` where a logger that the machine names needs a package that is not installed."""
    for name in machine.loggers:
        if isinstance(name, str) and not any(find_spec(package) for package in LOGGERS[name]):
            raise MissingExtraError(f"the logger {name} needs {name}, which is not installed: pip install {name}")
