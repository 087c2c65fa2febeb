"""Plain values as the values of a dataclass's fields."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.errors import InputError, UnknownNameError
from pnasnet.support.typed import check_range, convert_fields, number, typed, whole_number


@dataclass
class Example:
    count: int = 0
    share: float = 0.0
    flag: bool = False
    name: str | None = None
    pair: tuple[int, float] = (0, 0.0)
    names: tuple[str, ...] = ()
    pairs: tuple[tuple[int, int], ...] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    derived: int = field(init=False, default=0)


def test_values_become_those_of_their_fields() -> None:
    values = typed(
        Example, {"share": 1, "name": None, "pair": [1, 2], "names": [], "pairs": [[1, 2], (3, 4)], "notes": {"a": "b"}}
    )
    assert values == {
        "share": 1.0, "name": None, "pair": (1, 2.0), "names": (), "pairs": ((1, 2), (3, 4)), "notes": {"a": "b"},
    }  # fmt: skip
    assert [type(value) for value in (values["share"], values["pair"][1])] == [float, float]
    assert typed(Example, {"count": 2**53, "flag": True, "name": "x"}) == {"count": 2**53, "flag": True, "name": "x"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", True, "a whole number, not True"),
        ("count", 1.0, "a whole number, not 1.0"),
        ("share", "1", "a number, not '1'"),
        ("share", True, "a number, not True"),
        ("flag", 1, "true or false, not 1"),
        ("name", 3, "a string, not 3"),
        ("count", None, "a whole number, not None"),
        ("pair", [1], r"a list of 2 values, not \[1\]"),
        ("names", "ab", "a list, not 'ab'"),
        ("pairs", [[1, 2], 3], "a list of 2 values, not 3"),
        ("notes", [], r"a table, not \[\]"),
    ],
)
def test_values_of_another_type(name: str, value: object, expected: str) -> None:
    with pytest.raises(InputError, match=rf"^\[here\] {name} must be {expected}$"):
        typed(Example, {name: value}, "[here] ")


@pytest.mark.parametrize("name", ["count", "share"])
@pytest.mark.parametrize("value", [10**400, -(2**53) - 1])
def test_numbers_that_overflow(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} is too large: use at most 9,007,199,254,740,992"):
        typed(Example, {name: value})


@pytest.mark.parametrize("name", ["cuont", "derived"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown setting 'a.{name}': "):
        typed(Example, {name: 1}, "a.")


@dataclass(frozen=True)
class Options:
    count: int | None = None
    share: float = 0.5
    place: Path | None = None
    either: int | str = "auto"

    def __post_init__(self) -> None:
        convert_fields(self, count=1, share=0)


def test_the_fields_of_options_become_those_of_python() -> None:
    options = Options(np.int64(2), 1, Path("a"), 3)  # type: ignore[arg-type]
    assert (type(options.count), type(options.share), options.place, options.either) == (int, float, Path("a"), 3)
    for name, wrong in (("count", 0), ("count", 1.0), ("share", -0.1), ("share", float("nan")), ("count", "1")):
        values: dict[str, Any] = {name: wrong}
        with pytest.raises(InputError, match=f"^{name} must be "):
            Options(**values)


def test_single_arguments() -> None:
    assert (whole_number("n", np.uint8(3)), number("x", np.float32(0.5)), number("x", 1)) == (3, 0.5, 1.0)
    for call, message in (
        (lambda: whole_number("n", 0), "n must be at least 1, not 0"),
        (lambda: whole_number("n", "a" * 1000), "n must be a whole number, not 'aaaaaaaaaaaa...aaaaaaaaaaaaa'"),
        (lambda: number("x", None), "x must be a number, not None"),
        (lambda: check_range("x", float("nan"), 0, 1), "x must be from 0 to 1, not nan"),
    ):
        with pytest.raises(InputError) as raised:
            call()
        assert str(raised.value) == message
