"""Sections of `--help`, and options that reach a command as one value."""

import click
from click.testing import CliRunner

from pnasnet.cli.sections import command, given_options, pass_as, section


def several(function: click.decorators.FC) -> click.decorators.FC:
    return click.option("--third", help="C.")(click.option("--fourth", help="D.")(function))


@command()
@click.argument("sources", nargs=-1)
@click.option("-o", "--output", help="O.")
@section(
    "Model", click.option("--first", help="A."), click.option("--second", help="B."), click.option("--odd", hidden=True)
)
@section("Speed", several)
@section("Secret", click.option("--hidden", hidden=True))
@click.option("--quiet", is_flag=True, help="Q.")
def example(**values: object) -> None:
    """Do it."""
    click.echo(values)


def test_options_are_listed_by_section_in_order_of_declaration() -> None:
    output = CliRunner().invoke(example, ["--help"]).output
    titles = [line for line in output.splitlines() if line.endswith(":")]
    assert titles == ["Options:", "Model:", "Speed:"]
    order = ["--output", "--quiet", "--help", "--first", "--second", "--third", "--fourth"]
    assert sorted(order, key=output.index) == order
    assert output.splitlines()[0] == "Usage: example [OPTIONS] [SOURCES]..."
    assert output.count("SOURCES") == 1
    assert "hidden" not in output
    assert "odd" not in output


def test_options_of_sections_reach_the_command() -> None:
    output = CliRunner().invoke(example, ["--first", "1", "--fourth", "4"]).output
    assert "'first': '1'" in output
    assert "'fourth': '4'" in output


def area(width: int = 2, height: int = 3) -> int:
    return width * height


@command()
@section("Size", pass_as("size", area, click.option("--width", type=int), click.option("--height", type=int)))
@pass_as("share", "fractions:Fraction", click.option("--numerator", type=int), click.option("--denominator", type=int))
@click.option("--other")
def measured(size: int, share: object, other: str | None) -> None:
    """Print the values."""
    click.echo(f"{size} {share} {other}")


def test_options_are_passed_as_one_value_and_defaults_are_the_library_s() -> None:
    run = CliRunner().invoke
    assert run(measured, []).output == "6 0 None\n"
    assert (
        run(measured, ["--height", "5", "--numerator", "3", "--denominator", "6", "--other", "x"]).output
        == "10 1/2 x\n"
    )
    assert "--width" in run(measured, ["--help"]).output.partition("Size:")[2]


@command()
@click.argument("sources", nargs=-1)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--seed", default=1)
@section("Model", click.option("--first"), click.option("--second"))
def listing(**values: object) -> None:
    """Print the options on the command line."""
    click.echo(f"{[*given_options()]} {[*given_options('Model')]}")


def test_given_options_are_those_on_the_command_line() -> None:
    output = CliRunner().invoke(listing, ["a", "-q", "--second", "2"]).output
    assert output == "['-q', '--second'] ['--second']\n"
