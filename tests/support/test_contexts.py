"""Errors that pass a context manager are freed with their frames, without the garbage collector."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from pnasnet.support.contexts import contextmanager


class Batch:
    """Memory that a frame holds."""


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def failing(entered: list[Any]) -> None:
    batch = Batch()
    entered.append(weakref.ref(batch))
    raise MemoryError


@contextmanager
def translating() -> Iterator[int]:
    try:
        yield 1
    except MemoryError as error:
        raise ValueError("too little memory") from error


@contextmanager
def around() -> Iterator[int]:
    with translating() as value:
        yield value


@contextmanager
def swallowing() -> Iterator[int]:
    with suppress(MemoryError):
        yield 1


@contextmanager
def passing() -> Iterator[int]:
    yield 1


def nested() -> AbstractContextManager[int, bool | None]:
    @contextmanager
    def both() -> Iterator[int]:
        with passing(), around() as value:
            yield value

    return both()


@pytest.mark.parametrize("manager", [translating, around, swallowing, passing, nested])
def test_an_error_frees_what_its_frames_hold(manager: Callable[[], AbstractContextManager[int, bool | None]]) -> None:
    held = list[Any]()
    try:
        with manager() as value:
            assert value == 1
            failing(held)
    except (ValueError, MemoryError):
        pass
    assert held[0]() is None


def test_the_error_keeps_its_traceback_and_its_cause() -> None:
    with pytest.raises(ValueError, match="too little memory") as raised, around():
        failing([])
    cause = raised.value.__cause__
    assert isinstance(cause, MemoryError)
    names = list[str]()
    traceback = cause.__traceback__
    while traceback:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "failing"


def test_without_an_error_the_block_ends_the_generator() -> None:
    ended = list[int]()

    @contextmanager
    def manager(number: int) -> Iterator[int]:
        """Say so."""
        yield number
        ended.append(number)

    assert (manager.__name__, manager.__doc__) == ("manager", "Say so.")
    with manager(3) as value:
        assert not ended
    assert value == 3
    assert ended == [3]
