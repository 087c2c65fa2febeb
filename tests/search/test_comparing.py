"""Comparison of the algorithms of a search."""

from dataclasses import replace

import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.search.analysis import Findings
from pnasnet.search.comparing import Difference, differences
from pnasnet.search.journal import Choice
from pnasnet.search.session import Step
from pnasnet.support.text import NOTHING

from tests.helpers.search_data import CONFIG, child_of

CELL = CellSpec.of([("sep3", 0, "max3", 1)])


def found(**runs: list[list[float]]) -> Findings:
    steps = {
        name: {
            seed: [Step(Choice(CELL, 1), child_of(CELL, accuracy=value)) for value in values]
            for seed, values in enumerate(seeds)
        }
        for name, seeds in runs.items()
    }
    return Findings(CONFIG, ("cat", "dog"), steps, {})


def test_difference_p_and_models_to_equal() -> None:
    progressive = [[0.5, 0.7, 0.8], [0.6, 0.7, 0.9], [0.4, 0.7, 0.85]]
    random = [[0.5, 0.5, 0.6], [0.4, 0.6, 0.5], [0.3, 0.6, 0.6]]
    (difference,) = differences(found(progressive=progressive, random=random))
    assert (difference.first, difference.second, difference.models) == ("progressive", "random", 3)
    assert difference.mean == pytest.approx(0.25)
    assert difference.p == pytest.approx(0.1)  # 2 of the 20 divisions of six seeds
    assert (difference.first_after, difference.second_after) == (2, None)
    assert difference.row() == ("progressive minus random", "+25.00 %", "0.100", "progressive 2, random more than 3")


def test_equal_algorithms_do_not_differ() -> None:
    runs = [[0.5, 0.6], [0.5, 0.7]]
    (difference,) = differences(found(random=runs, evolution=runs))
    assert (difference.mean, difference.p) == (0, 1)
    assert (difference.first_after, difference.second_after) == (2, 2)


def test_the_number_of_models_is_that_of_the_shortest_search() -> None:
    (difference,) = differences(found(random=[[0.5, 0.6, 0.9]] * 2, evolution=[[0.5, 0.7]] * 2))
    assert difference.models == 2
    assert difference.mean == pytest.approx(-0.1)
    assert difference.row()[1] == "\N{MINUS SIGN}10.00 %"


def test_a_single_seed_has_no_p() -> None:
    (difference,) = differences(found(random=[[0.5]], evolution=[[0.6], [0.7]]))
    assert difference.p is None
    assert difference.row()[2] == NOTHING


def test_one_algorithm_alone_is_not_compared() -> None:
    findings = found(random=[[0.5]])
    assert not list(differences(findings))
    assert not list(differences(replace(findings, steps={})))


def test_a_row_states_a_budget_that_is_not_reached() -> None:
    assert Difference("a", "b", 7, 0.0, 0.5, None, None).row()[3] == "a more than 7, b more than 7"
