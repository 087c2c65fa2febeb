"""Options that are numbers: every value that is none, or that no library holds, is wrong usage before any work."""

from pathlib import Path

import click
import pytest

from pnasnet.cli.numbers import LARGEST, Real, Whole
from pnasnet.support import typed

from tests.cli.test_app import COMMANDS
from tests.helpers.cli_runs import run

NUMBERS = ("whole number", "number", "devices")
METAVARS = ("N", "X", "K", "R", "T", "RATE", "FRACTION", "SECONDS", "MIB")
OPTIONS = {
    (*words, option.opts[-1]): option
    for words, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option) and option.metavar in METAVARS
}
NONE = ("", "-", "x", "nan", "inf", "-inf", "1e400", "1,2", "1:2:3", "0x10", "/dev/null", "\udcff", "9" * 5000)
TOO_LARGE = (2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1)


def test_no_number_has_a_type_of_its_own() -> None:
    assert len(OPTIONS) > 50
    assert {option.type.name for option in OPTIONS.values()} == set(NUMBERS)
    assert LARGEST == typed.LARGEST


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_no_number(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    *command, option = words
    values = [*NONE, *map(str, TOO_LARGE), "-1"] if OPTIONS[words].type.name != "number" else [*NONE]
    for value in values:
        result = run(*command, f"{option}={value}")
        assert result.exit_code == 2, value
        last = result.stderr.splitlines()[-1]
        assert last.startswith("Error: Invalid value for "), value
        assert f"'{option}'" in last
        assert len(last) < 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Whole(), "0", "'0' is not a whole number from 1 up."),
        (Whole(0, 65535), "65536", "'65536' is not a whole number from 0 to 65,535."),
        (Whole(2), "1.5", "'1.5' is not a whole number from 2 up."),
        (Whole(), "9007199254740993", "'9007199254740993' is too large: use at most 9,007,199,254,740,992."),
        (Real(), "nan", "'nan' is not a number."),
        (Real(0), "-0.5", "'-0.5' is not a number from 0 up."),
        (Real(0), "inf", "'inf' is not a number from 0 up."),
        (Real(0, 1), "1.01", "'1.01' is not a number from 0 to 1."),
    ],
)
def test_bounds_are_stated(kind: Whole | Real, value: str, message: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        kind.convert(value, None, None)
    assert raised.value.message == message


def test_numbers_within_bounds() -> None:
    assert Whole().convert("1", None, None) == 1
    assert Whole().convert(str(LARGEST), None, None) == LARGEST
    assert Whole(0, 5).convert("0", None, None) == 0
    assert Whole(0, 5).convert(5, None, None) == 5
    assert Real(0, 1).convert("1e-3", None, None) == 0.001
    assert Real().convert("-2.5", None, None) == -2.5
