"""Which parts of a network stay in floating point: those that cost the most fidelity for their arithmetic.

The parts are the stem, the cells and the classifier: a part that stays whole does not change between int8 and floating
point at every layer, which would cost more time than it saves.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..architecture.plan import Plan
from ..support.progress import Progress, counter

MeasureCosine = Callable[[Collection[str]], float]
"""Returns the mean cosine if the parts of these scopes stay in floating point."""


@dataclass(frozen=True)
class TradeOff:
    """A point of the trade between fidelity and arithmetic.

    Attributes:
        floating: scopes of the parts in floating point.
        cosine: mean cosine to the float32 model on the images to choose by.
        int8_share: share of the multiply-adds in int8.
    """

    floating: tuple[str, ...]
    cosine: float
    int8_share: float


def parts(plan: Plan) -> dict[str, int]:
    """Return the multiply-adds of each part, by scope: the stem's layers, cells, the classifier."""
    counts: dict[str, int] = {}
    for layer in plan.layers():
        scope = str(getattr(layer, "scope", "")).partition("/")[0]
        if scope and (cost := getattr(layer, "mult_adds", 0)):
            counts[scope] = counts.get(scope, 0) + cost
    return counts


def choose(costs: dict[str, int], measure: MeasureCosine, least_cosine: float, progress: Progress) -> list[TradeOff]:
    """Move parts to floating point until the cosine is at least `least_cosine`; return all steps, first and last too.

    Greedy: the gain of each part alone is measured once, and parts follow in order of gain for each multiply-add. If
    even the last step falls short, so does every choice.
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
