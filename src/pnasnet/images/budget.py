"""Limits the pixels that all decoders of a process keep in memory at the same time."""

import os
import threading
from collections.abc import Iterator

from ..support.contexts import contextmanager


class PixelBudget:
    """Limits the pixels that all threads hold together. A single image never waits, regardless of its size."""

    def __init__(self, pixels: int) -> None:
        self._total = pixels
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._used, self._own = 0, threading.local()
        self._turn, self._changed = threading.Lock(), threading.Condition()

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Release the pixels that this thread takes at the end of the block, or of the outermost scope."""
        if hasattr(self._own, "held"):
            yield
            return
        self._own.held = 0
        try:
            yield
        finally:
            with self._changed:
                self._used -= self._own.held
                self._changed.notify_all()
            del self._own.held

    def take(self, pixels: int) -> None:
        """Take `pixels`; wait until they fit. Only the largest image of a scope counts. Threads are served in order."""
        more = pixels - self._own.held
        if more <= 0:
            return
        with self._turn, self._changed:
            # Wait for other threads only, since this thread cannot release its own pixels while it waits.
            self._changed.wait_for(lambda: self._used + more <= self._total or self._used == self._own.held)
            self._used += more
            self._own.held += more
