"""One budget of pixels for all decoders of a process: many large pictures at once wait for each other."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Bounds the pixels that all threads hold together; one picture alone is never held up."""

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
        """Keep what this thread takes in the block until its end; within another scope, until the end of that."""
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
        """Wait until `pixels` fit; of several pictures in a scope only the largest counts. Threads wait in line."""
        more = pixels - self._own.held
        if more <= 0:
            return
        with self._turn, self._changed:
            # Waiting for others only: what this thread holds is given back by nobody else.
            self._changed.wait_for(lambda: self._used + more <= self._total or self._used == self._own.held)
            self._used += more
            self._own.held += more
