"""Types of options whose values are numbers. Other values are wrong usage, reported before any work.

So are numbers that some library cannot hold: whole numbers beyond 2^53, `nan`, `inf` and `1e400`.
"""

import math
import reprlib
from typing import Any

import click

# This equals support.typed.LARGEST, whose import would slow down --help; a test compares them.
LARGEST = 2**53


class _Number(click.ParamType):  # type: ignore[type-arg] # generic in new releases only
    """A number from `least` to `most`. `parse` converts text, and raises `ValueError`."""

    least: float
    most: float
    article: str

    def parse(self, value: Any) -> float:
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises `click.BadParameter`, which names the bounds."""
        try:
            number = self.parse(value)
        except (ValueError, OverflowError):
            number = math.nan
        if number > self.most == LARGEST:
            self.fail(f"{reprlib.repr(value)} is too large: use at most {LARGEST:,}.", param, ctx)
        if not self.least <= number <= self.most or math.isinf(number):
            self.fail(f"{reprlib.repr(value)} is not {self.article}{self._bounds()}.", param, ctx)
        return number

    def _bounds(self) -> str:
        low, high = self.least > -math.inf, self.most < LARGEST
        if low and high:
            return f" from {self.least:,} to {self.most:,}"
        return f" from {self.least:,} up" if low else ""


class Whole(_Number):
    """A whole number from `least` to `most`."""

    name = "whole number"
    article = "a whole number"

    def __init__(self, least: int = 1, most: int = LARGEST) -> None:
        self.least, self.most = least, most

    def parse(self, value: Any) -> int:
        """Convert text to a whole number."""
        return int(value)


class Real(_Number):
    """A finite number from `least` to `most`."""

    name = "number"
    article = "a number"

    def __init__(self, least: float = -math.inf, most: float = math.inf) -> None:
        self.least, self.most = least, most

    def parse(self, value: Any) -> float:
        """Convert text to a number."""
        return float(value)
