"""Every error that the package raises on purpose.

    PnasnetError
    ├── SpecError             a cell or network that cannot exist (also ValueError)
    ├── InputError            an argument of the wrong rank, size, dtype or range (also ValueError)
    │   └── UnknownNameError         a model, handle, signature, endpoint or preset that does not exist
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
    """Base class of all errors that this package raises on purpose.

    Example:
        >>> import pnasnet
        >>> try:
        ...     pnasnet.Module("no_such_model")
        ... except pnasnet.PnasnetError as error:
        ...     print(type(error).__name__)
        UnknownNameError
    """


class SpecError(PnasnetError, ValueError):
    """A cell or a network that cannot exist.

    Example:
        >>> import pnasnet
        >>> pnasnet.CellSpec([("sep4", 0, "max3", 1)], [2])
        Traceback (most recent call last):
            ...
        pnasnet.errors.SpecError: ...
    """


def choose_one_of(known: Collection[str]) -> str:
    """Return what to do about a wrong name: `choose one of: a, b`, `the only one is a`, or `there are none`."""
    if not known:
        return "there are none"
    return f"{'the only one is' if len(known) == 1 else 'choose one of:'} {', '.join(known)}"


class InputError(PnasnetError, ValueError):
    """An argument of the wrong rank, size, dtype or range.

    Example:
        >>> import numpy as np
        >>> import pnasnet
        >>> pnasnet.Module("pnasnet_tiny")(np.zeros((1, 8, 8, 3), np.float32))
        Traceback (most recent call last):
            ...
        pnasnet.errors.InputError: ...
    """


class UnknownNameError(InputError):
    """An unknown name of a model, handle, signature, endpoint, preset or the like.

    Example:
        >>> from pnasnet.images import get_preset
        >>> get_preset("hubb")
        Traceback (most recent call last):
            ...
        pnasnet.errors.UnknownNameError: ...
        >>> from pnasnet.errors import UnknownNameError
        >>> str(UnknownNameError.of("preset", "hubb", ["hub", "slim"]))
        "unknown preset 'hubb': did you mean hub?"
    """

    @classmethod
    def of(cls, kind: str, name: str, known: Collection[str]) -> "UnknownNameError":
        """Build the error for `name`, suggesting the nearest of the `known` names, or listing them all."""
        import difflib

        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else choose_one_of(known)
        return cls(f"unknown {kind} {name!r}: {hint}")


class ImageError(PnasnetError):
    """Bytes that are not an image, or a damaged or oversized one.

    Example:
        >>> from pnasnet.images import decode
        >>> decode(b"not an image")
        Traceback (most recent call last):
            ...
        pnasnet.errors.ImageError: ...
    """


class UnreachableError(ImageError):
    """A disk or a server that does not answer. The image itself may be sound.

    Example:
        >>> from pnasnet.errors import ImageError, UnreachableError
        >>> issubclass(UnreachableError, ImageError)
        True
    """


class WeightsError(PnasnetError):
    """Weights that cannot be used.

    Example:
        >>> from pnasnet.errors import PnasnetError, WeightsError
        >>> issubclass(WeightsError, PnasnetError)
        True
    """


class WeightsNotFoundError(WeightsError):
    """Weights that are neither on this machine nor downloadable.

    Example:
        >>> import pnasnet
        >>> pnasnet.open_weights("missing.safetensors")
        Traceback (most recent call last):
            ...
        pnasnet.errors.WeightsNotFoundError: ...
    """


class CorruptWeightsError(WeightsError):
    """A weights file whose bytes are damaged or contradict themselves.

    Example:
        >>> import pnasnet
        >>> pnasnet.open_weights("damaged.safetensors")
        Traceback (most recent call last):
            ...
        pnasnet.errors.CorruptWeightsError: ...
    """


class WeightsMismatchError(WeightsError):
    """Weights whose names or shapes are not those of the network.

    Example:
        >>> import pnasnet
        >>> pnasnet.Module("pnasnet_mobile", "model.safetensors")
        Traceback (most recent call last):
            ...
        pnasnet.errors.WeightsMismatchError: ...
    """


class OutOfMemoryError(PnasnetError):
    """Too little memory for a batch or a training step; a smaller batch may fit.

    Example:
        >>> from pnasnet.errors import OutOfMemoryError, PnasnetError
        >>> issubclass(OutOfMemoryError, PnasnetError)
        True
    """


class DivergedError(PnasnetError):
    """A training whose loss is no longer finite.

    Example:
        >>> from pnasnet.errors import DivergedError, PnasnetError
        >>> issubclass(DivergedError, PnasnetError)
        True
    """


class OutputError(PnasnetError):
    """A result that cannot be written.

    Example:
        >>> import pnasnet
        >>> pnasnet.Module("pnasnet_tiny").export("photos/coffee.jpg/model.safetensors")
        Traceback (most recent call last):
            ...
        pnasnet.errors.OutputError: ...
    """


class LockedError(OutputError):
    """A folder that another run is writing to.

    Example:
        >>> from pnasnet.errors import LockedError, OutputError
        >>> issubclass(LockedError, OutputError)
        True
    """


class MissingExtraError(PnasnetError, ImportError):
    """An optional dependency that is not installed.

    Example:
        >>> from pnasnet.errors import MissingExtraError
        >>> print(MissingExtraError.of("torch", "torch", "the torch engine"))
        the torch engine needs torch, which is not installed: pip install 'pnasnet[torch]'
    """

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> "MissingExtraError":
        """Build the error for `package`, which `purpose` needs and `pnasnet[extra]` installs."""
        return cls(f"{purpose} needs {package}, which is not installed: pip install 'pnasnet[{extra}]'")
