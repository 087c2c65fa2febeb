"""The stack on which this thread's signals are handled, kept from libraries that change it."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Let the thread have the same alternate signal stack after the block as before; does nothing but on Linux.

    OpenVINO 2026.4 sets one of its own when it compiles a model, and puts back the one before when the model goes. Of
    two models, when the first goes first, the second then puts back memory that is no longer there, and the next signal
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
