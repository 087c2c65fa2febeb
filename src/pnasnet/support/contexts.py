"""`contextmanager` of the standard library, without its reference cycle."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T, bool | None]]:
    """Make a context manager of a generator, as `contextlib.contextmanager` does.

    From Python 3.12 on, an error that the latter's generator handles, or turns into another one, stays in a reference
    cycle (https://github.com/python/cpython/issues/129280). All that the frames of its traceback hold, such as a batch
    or an image, would be freed by the garbage collector alone, and much of it may accumulate until then.
    """
    make = contextlib.contextmanager(function)

    @wraps(function)
    def manager(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T, bool | None]:
        return _Manager(make(*args, **kwargs))

    return manager


class _Manager(AbstractContextManager[T, bool | None], Generic[T]):
    def __init__(self, manager: AbstractContextManager[T, bool | None]) -> None:
        self._manager = manager

    def __enter__(self) -> T:
        return self._manager.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return self._manager.__exit__(kind, error, traceback)
        finally:
            if error is not None:
                error.__traceback__ = traceback  # without the generator's frame, which refers to the caller's
