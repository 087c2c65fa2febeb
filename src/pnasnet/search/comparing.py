"""Compares the algorithms of a search: differences beyond the spread of the seeds, and models to equal each other."""

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
    """How two algorithms differ in their best accuracy at equal numbers of models, over their seeds.

    Attributes:
        first, second: names of the algorithms.
        models: number of models of each search.
        mean: mean of the first's best accuracies minus that of the second's.
        p: probability of a difference at least as large, of either sign, if the algorithms were equal: the share of all
            divisions of the seeds into two groups that show one (a permutation test). With three seeds each it is 0.1
            at least, with five 0.008. None if one has a single seed.
        first_after, second_after: number of models after which the mean curve of the one reaches the final mean of the
            other; None if it does not.
    """

    first: str
    second: str
    models: int
    mean: float
    p: float | None
    first_after: int | None
    second_after: int | None

    def row(self) -> tuple[str, str, str, str]:
        """Return it as text: names, difference, p, and the models that each needs to equal the other."""
        mean = f"{100 * self.mean:+.2f} %".replace("-", "\N{MINUS SIGN}")
        p = NOTHING if self.p is None else f"{self.p:.3f}"
        needs = (_needs(self.first, self.first_after, self.models), _needs(self.second, self.second_after, self.models))
        return f"{self.first} minus {self.second}", mean, p, ", ".join(needs)


def _needs(algorithm: str, models: int | None, budget: int) -> str:
    return f"{algorithm} more than {budget}" if models is None else f"{algorithm} {models}"


def differences(findings: Findings) -> Iterator[Difference]:
    """Yield the difference of each pair of algorithms, at the number of models that all reached.

    Raises `MissingExtraError` without scipy.
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
