"""The hardware of a training. It decides the speed; the recipe decides the outcome."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..errors import InputError, MissingExtraError, UnknownNameError
from ..support.system import processors
from ..support.text import counted
from ..support.typed import convert_fields

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}
"""Our names of precisions, and Lightning's. With bfloat16 the weights stay float32."""
ACCELERATORS = ("auto", "cpu", "gpu")
LOGGERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
"""Names of loggers, and the packages of which each needs one."""


@dataclass(frozen=True)
class Machine:
    """The hardware of a training, and how it is used.

    Results on different machines differ by rounding. They differ by more if batches are divided, because each device
    and each part of a batch normalizes by its own batch statistics, like TF-Slim's replicas. Raises `InputError` and
    `UnknownNameError`.
    """

    accelerator: str = "auto"
    """`cpu`, `gpu` or `auto`."""
    devices: int | str = "auto"
    """Number of GPUs or CPU processes on each machine; `auto` for all GPUs, or one CPU process."""
    nodes: int = 1
    """Number of machines. Each runs the same command, by hand or through SLURM."""
    precision: str = "float32"
    """`float32`, or `bfloat16`, several times faster on GPUs with tensor cores."""
    channels_last: bool = True
    """Memory layout of activations; faster on CPUs and in reduced precision."""
    compile: bool = False
    """Whether to run steps through `torch.compile`."""
    checkpoint_cells: bool = False
    """Whether to recompute each cell in the backward pass: less memory, about a third more time."""
    parts: int = 1
    """Number of parts in which a device computes its share of a batch, one after the other, to save memory."""
    workers: int | None = None
    """Processes per device that decode images; None for one per processor, 0 to decode in the training process."""
    validate_every: int = 1
    """Epochs between two validations. The last epoch is always validated."""
    loggers: tuple[Any, ...] = ()
    """Loggers besides the folder's own CSV: names (`tensorboard`, `wandb`) or Lightning `Logger`s."""

    def __post_init__(self) -> None:
        convert_fields(self, nodes=1, parts=1, validate_every=1, workers=0)
        if self.accelerator not in ACCELERATORS:
            raise UnknownNameError.of("accelerator", self.accelerator, ACCELERATORS)
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, list(PRECISIONS))
        for logger in self.loggers:
            if isinstance(logger, str) and logger not in LOGGERS:
                raise UnknownNameError.of("logger", logger, list(LOGGERS))
        if self.devices != "auto" and (type(self.devices) is not int or self.devices < 1):
            raise InputError(f"devices must be a number from 1 up, or 'auto', not {self.devices!r}")

    def workers_for(self, devices: int) -> int:
        """Return the number of processes that decode for each of `devices` on this machine."""
        return max(processors() // devices, 1) if self.workers is None else self.workers

    def check_batch(self, size: int, *, freeze_batch_norm: bool) -> None:
        """Raise `InputError` if a batch of `size` images cannot be shared evenly, before the devices are counted."""
        devices = 1 if self.devices == "auto" else int(self.devices)
        check_shares(size, devices * self.nodes, self.parts, freeze_batch_norm=freeze_batch_norm)


def check_shares(batch_size: int, devices: int, parts: int, *, freeze_batch_norm: bool) -> None:
    """Raise `InputError` if devices and their parts cannot share a batch evenly.

    Each part needs at least two images for batch normalization, unless its moving averages are frozen.
    """
    shares = devices * parts
    if batch_size % shares:
        given = ((devices, "device"), (parts, "part"))
        wanted = " x ".join(counted(count, name) for count, name in given if count > 1)
        raise InputError(f"a batch of {batch_size} cannot be shared evenly by {wanted}: use other numbers")
    if batch_size == shares and not freeze_batch_norm:
        raise InputError(
            f"a batch of {batch_size} in {shares} parts has one image in each, and batch normalization needs "
            "two: use fewer parts or devices"
        )


DEFAULTS = Machine()


def check_loggers(machine: Machine) -> None:
    """Raise `MissingExtraError` if the package of one of the machine's loggers is not installed."""
    for name in machine.loggers:
        if isinstance(name, str) and not any(find_spec(package) for package in LOGGERS[name]):
            raise MissingExtraError(f"--logger {name} needs {name}, which is not installed: pip install {name}")
