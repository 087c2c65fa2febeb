"""Compares the algorithms of a search: differences of accuracy with p-values, and numbers of models to equal."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..support.text import NOTHING
from .analysis import Findings, seed_curves
from .predictors import check_scipy


@dataclass(frozen=True)
class Difference:
    """The difference of two algorithms in best accuracy at equal numbers of models, over their seeds.

    Attributes:
        first, second: names of the algorithms.
        models: number of models of each search.
        mean: mean best accuracy of the first minus that of the second.
        p: two-sided p-value of a permutation test: the share of all divisions of the seeds into two groups whose
            difference is at least as large. It is at least 0.1 with three seeds each, and 0.008 with five. None if one
            algorithm has a single seed.
        first_after, second_after: number of models after which the algorithm's mean curve reaches the other's final
            mean; None if it does not.
    """

    first: str
    second: str
    models: int
    mean: float
    p: float | None
    first_after: int | None
    second_after: int | None

    def row(self) -> tuple[str, str, str, str]:
        """Return the cells of a table: names, difference, p-value, and models that each needs to equal the other."""
        mean = f"{100 * self.mean:+.2f} %".replace("-", "\N{MINUS SIGN}")
        p = NOTHING if self.p is None else f"{self.p:.3f}"
        needs = (_needs(self.first, self.first_after, self.models), _needs(self.second, self.second_after, self.models))
        return f"{self.first} minus {self.second}", mean, p, ", ".join(needs)


def _needs(algorithm: str, models: int | None, budget: int) -> str:
    return f"{algorithm} more than {budget}" if models is None else f"{algorithm} {models}"


def differences(findings: Findings) -> Iterator[Difference]:
    """Yield the difference of each pair of algorithms, at the number of models that all have reached.

    Raises `MissingExtraError` without SciPy.
    """
    runs = seed_curves(findings)
    count = min((each.shape[1] for each in runs.values()), default=0)
    for first, second in itertools.combinations(runs, 2):
        one, two = runs[first][:, :count], runs[second][:, :count]
        yield Difference(
            first,
            second,
            count,
            float(one[:, -1].mean() - two[:, -1].mean()),
            _p(one[:, -1], two[:, -1]),
            _reaches(one, two),
            _reaches(two, one),
        )


def _reaches(runs: NDArray[np.float64], others: NDArray[np.float64]) -> int | None:
    reached = np.flatnonzero(runs.mean(axis=0) >= others[:, -1].mean())
    return int(reached[0]) + 1 if len(reached) else None


def _p(one: NDArray[np.float64], two: NDArray[np.float64]) -> float | None:
    check_scipy()
    from scipy.stats import permutation_test

    if min(len(one), len(two)) < 2:
        return None
    tested = permutation_test(
        (one, two), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True, n_resamples=np.inf
    )
    return float(tested.pvalue)
