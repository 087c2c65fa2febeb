"""Every error that the package raises on purpose.

    PnasnetError
    ├── SpecError             a cell or network that cannot exist (also ValueError)
    ├── UnknownNameError      a model, handle, signature, endpoint or preset that does not exist (also ValueError)
    ├── InputError            an argument of the wrong rank, size, dtype or range (also ValueError)
    ├── ImageError            bytes that are not an image, or a damaged or oversized one
    │   └── UnreachableError         a disk or a server that does not answer; the image may be sound
    ├── WeightsError          weights that cannot be used
    │   ├── WeightsNotFoundError     not on this machine, and not downloadable
    │   ├── CorruptWeightsError      damaged bytes, or false claims about sizes
    │   └── WeightsMismatchError     names or shapes differ from the network's
    ├── OutOfMemoryError      too little memory for a batch or a training step
    ├── DivergedError         a training whose loss is no longer finite
    ├── OutputError           a result that cannot be written
    │   └── LockedError              a folder that another run is writing to
    └── MissingExtraError     an optional dependency that is not installed (also ImportError)

Each message is one line: what is wrong, with what, and what to do.
"""

from collections.abc import Collection


class PnasnetError(Exception):
    """Base class of all errors that this package raises on purpose."""


class SpecError(PnasnetError, ValueError):
    """A cell or a network that cannot exist."""


def choose_one_of(known: Collection[str]) -> str:
    """Return what to do about a wrong name: `choose one of: a, b`, `the only one is a`, or `there are none`."""
    if not known:
        return "there are none"
    return f"{'the only one is' if len(known) == 1 else 'choose one of:'} {', '.join(known)}"


class UnknownNameError(PnasnetError, ValueError):
    """An unknown name of a model, handle, signature, endpoint, preset or the like."""

    @classmethod
    def of(cls, kind: str, name: str, known: Collection[str]) -> "UnknownNameError":
        """Build the error for `name`, suggesting the nearest of the `known` names, or listing them all."""
        import difflib

        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else choose_one_of(known)
        return cls(f"unknown {kind} {name!r}: {hint}")


class InputError(PnasnetError, ValueError):
    """An argument of the wrong rank, size, dtype or range."""


class ImageError(PnasnetError):
    """Bytes that are not an image, or a damaged or oversized one."""


class UnreachableError(ImageError):
    """A disk or a server that does not answer. The image itself may be sound."""


class WeightsError(PnasnetError):
    """Weights that cannot be used."""


class WeightsNotFoundError(WeightsError):
    """Weights that are neither on this machine nor downloadable."""


class CorruptWeightsError(WeightsError):
    """A weights file whose bytes are damaged or contradict themselves."""


class WeightsMismatchError(WeightsError):
    """Weights whose names or shapes are not those of the network."""


class OutOfMemoryError(PnasnetError):
    """Too little memory for a batch or a training step; a smaller batch may fit."""


class DivergedError(PnasnetError):
    """A training whose loss is no longer finite."""


class OutputError(PnasnetError):
    """A result that cannot be written."""


class LockedError(OutputError):
    """A folder that another run is writing to."""


class MissingExtraError(PnasnetError, ImportError):
    """An optional dependency that is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> "MissingExtraError":
        """Build the error for `package`, which `purpose` needs and `pnasnet[extra]` installs."""
        return cls(f"{purpose} needs {package}, which is not installed: pip install 'pnasnet[{extra}]'")
