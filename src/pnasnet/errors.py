"""Every error that the package raises on purpose.

    PnasnetError
    ├── SpecError             a cell or network that cannot exist (also ValueError)
    ├── UnknownNameError      a model, handle, signature, endpoint or preset that is not there (also ValueError)
    ├── InputError            an argument of the wrong rank, size, dtype or range (also ValueError)
    ├── ImageError            bytes that are not an image, or a damaged or oversized one
    │   └── UnreachableError         a disk or a server that does not answer; the picture may be fine
    ├── WeightsError          weights that cannot be used
    │   ├── WeightsNotFoundError     nowhere on this machine, and not to be downloaded
    │   ├── CorruptWeightsError      damaged or dishonest bytes
    │   └── WeightsMismatchError     names or shapes differ from the network's
    ├── OutOfMemoryError      too little memory for a batch or a training step
    ├── DivergedError         a training whose loss is no longer finite
    ├── OutputError           a result that could not be written
    │   └── LockedError              a folder that another run is writing to
    └── MissingExtraError     an optional dependency is not installed (also ImportError)

The message of each is one line for a person: what is wrong, with what, and what to do about it.
"""


class PnasnetError(Exception):
    """Base class of all errors that this package raises on purpose."""


class SpecError(PnasnetError, ValueError):
    """A cell or a network that cannot exist."""


class UnknownNameError(PnasnetError, ValueError):
    """A name (model, handle, signature, endpoint, preset) that is not among the known ones."""

    @classmethod
    def of(cls, kind: str, name: str, known: "list[str] | tuple[str, ...]") -> "UnknownNameError":
        """Build the error for `name`, suggesting the nearest of the `known` names, or listing them all."""
        import difflib

        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of: {', '.join(known)}"
        return cls(f"unknown {kind} {name!r}: {hint}")


class InputError(PnasnetError, ValueError):
    """An argument of the wrong rank, size, dtype or range."""


class ImageError(PnasnetError):
    """Bytes that are not an image, or a damaged or an oversized one."""


class UnreachableError(ImageError):
    """A disk or a server that does not answer: neither the picture's fault nor that of its neighbours."""


class WeightsError(PnasnetError):
    """Weights that cannot be used."""


class WeightsNotFoundError(WeightsError):
    """Weights that are neither on this machine nor to be downloaded."""


class CorruptWeightsError(WeightsError):
    """A weights file whose bytes are damaged, or that claims what cannot be."""


class WeightsMismatchError(WeightsError):
    """Weights whose names or shapes are not those of the network."""


class OutOfMemoryError(PnasnetError):
    """Too little memory for a batch or a training step; a smaller batch may fit."""


class DivergedError(PnasnetError):
    """A training whose loss is no longer finite."""


class OutputError(PnasnetError):
    """A result that could not be written."""


class LockedError(OutputError):
    """A folder that another run is writing to."""


class MissingExtraError(PnasnetError, ImportError):
    """An optional dependency that is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> "MissingExtraError":
        """Build the error for `package`, needed for `purpose`, that comes with `pnasnet[extra]`."""
        return cls(f"{purpose} needs {package}, which is not installed: pip install 'pnasnet[{extra}]'")
