"""Chooses the parts of a network that stay in floating point: those that lose the most fidelity for their arithmetic.

The parts are the stem's layers, the cells and the classifier. Single layers are not chosen: changing between int8 and
floating point at each layer would take more time than it saves.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..architecture.plan import Plan
from ..support.progress import Progress, counter

MeasureCosine = Callable[[Collection[str]], float]
"""Returns the mean cosine to float32 if the parts of these scopes stay in floating point."""


@dataclass(frozen=True)
class TradeOff:
    """One choice of parts, with its fidelity and its share of int8.

    Attributes:
        floating: scopes of the parts in floating point.
        cosine: mean cosine to the float32 model on the calibration images.
        int8_share: share of the multiply-adds in int8, in [0, 1].
    """

    floating: tuple[str, ...]
    cosine: float
    int8_share: float


def parts(plan: Plan) -> dict[str, int]:
    """Return the multiply-adds per image of each part, by its scope."""
    counts: dict[str, int] = {}
    for layer in plan.layers():
        scope = str(getattr(layer, "scope", "")).partition("/")[0]
        if scope and (cost := getattr(layer, "mult_adds", 0)):
            counts[scope] = counts.get(scope, 0) + cost
    return counts


def choose(costs: dict[str, int], measure: MeasureCosine, least_cosine: float, progress: Progress) -> list[TradeOff]:
    """Move parts to floating point until the cosine is at least `least_cosine`; return all steps, from int8 alone on.

    The search is greedy: the gain of each part alone is measured once, and parts are moved in the order of their gains
    per multiply-add. If the last step falls short, all parts are in floating point.

    Args:
        costs: the multiply-adds of each part, by scope.
        measure: measures the cosine of a choice.
        least_cosine: the cosine to reach.
        progress: receives the parts done in the stage `choosing layers`.
    """
    total = sum(costs.values())
    steps = [TradeOff((), measure(()), 1.0)]
    if steps[0].cosine >= least_cosine:
        return steps
    advance = counter(progress, "choosing layers", len(costs))
    gains: dict[str, float] = {}
    for scope, cost in costs.items():
        gains[scope] = (measure((scope,)) - steps[0].cosine) / cost
        advance(1)
    floating: tuple[str, ...] = ()
    for scope in sorted(gains, key=gains.__getitem__, reverse=True):
        floating = (*floating, scope)
        share = 1 - sum(costs[each] for each in floating) / total
        steps.append(TradeOff(floating, measure(floating), share))
        if steps[-1].cosine >= least_cosine:
            break
    return steps
