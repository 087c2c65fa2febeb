"""Protects a thread's alternate signal stack from libraries that replace it."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager  # noqa: TID251  # it is a decorator, too; errors pass unchanged


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Restore the thread's alternate signal stack after the block; does nothing except on Linux.

    OpenVINO 2026.4 sets its own stack when it compiles a model, and restores the previous one when the model is
    destroyed. If the first of two models is destroyed first, the second restores freed memory, and the next signal
    (Ctrl-C, or the end of a worker process) ends the process with a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
