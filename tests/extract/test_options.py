"""Options of an extraction, and the number of rows that it will have."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions
from pnasnet.extract.folder import Kept
from pnasnet.extract.on_ray import RayOptions
from pnasnet.extract.run import count_rows
from pnasnet.pictures import PassedOver, Picture, Unit


@pytest.mark.parametrize(
    ("options", "name", "least"),
    [
        (ExtractOptions, "batch_size", 1), (ExtractOptions, "decoders", 1), (ExtractOptions, "give_up", 0),
        (RayOptions, "workers", 1), (RayOptions, "cpus", 1), (RayOptions, "gpus", 0),
    ],
)  # fmt: skip
def test_the_least_numbers(options: Any, name: str, least: int) -> None:
    assert getattr(options(**{name: least}), name) == least
    with pytest.raises(InputError, match=f"{name} must be at least {least}, not {least - 1}"):
        options(**{name: least - 1})


@dataclass(frozen=True)
class Shard(Unit):
    """A unit of a known or an unknown size."""

    kind = "shard of a test"
    count: int | None
    name = "shard"

    @property
    def size(self) -> int | None:
        return self.count

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        raise AssertionError("opened to be counted")


def test_rows_are_counted_without_opening_a_unit() -> None:
    """A finished unit has as many rows as are kept, whatever its size was; of others the size counts."""
    assert count_rows([Shard(3), Shard(4)], {}) == 7
    assert count_rows([Shard(3), Shard(None)], {}) is None
    assert count_rows([Shard(3), Shard(None)], {1: Kept(5, finished=True)}) == 8
    assert count_rows([Shard(3), Shard(None)], {1: Kept(5)}) is None
    assert count_rows([Shard(3), Shard(4)], {0: Kept(2), 1: Kept(1, finished=True)}) == 4
    assert count_rows([], {}) == 0
