"""Whether weights are those of a network: names both ways, every shape, all differences in one error."""

import re
from collections.abc import Collection, Mapping

from ..errors import WeightsMismatchError
from .arrays import Shape

AUXILIARY_HEAD = "aux_"
"""Prefix of the auxiliary head's variables, which published checkpoints lack and only training uses."""
CLASSIFIER = "final_layer/"
"""Prefix of the classifier's variables: optional for features alone, and for a new number of classes."""

_LISTED = 20  # of each kind of difference

_TRAINING_STATE = re.compile(
    r"(?:^|/)(?:global_step|save_counter|beta[12]_power|ExponentialMovingAverage|Adadelta|Adagrad|Adam|Ftrl|Momentum|"
    r"RMSProp)(?:_\d+)?$"
)


def check_weights(
    found: Mapping[str, Shape],
    expected: Mapping[str, Shape],
    *,
    origin: str,
    optional: Collection[str] = (AUXILIARY_HEAD,),
) -> tuple[str, ...]:
    """Compare what weights hold with what a network has.

    What training leaves beside the variables is tolerated and never taken: steps, optimizer slots, and moving
    averages (the variables themselves hold the evaluated weights in the published checkpoints).

    Args:
        found: names and shapes of the weights.
        expected: names and shapes of the network's variables.
        origin: what the weights are called in the error.
        optional: prefixes of groups of variables that the weights or the network may lack as a whole, or hold for
            another number of classes (their last dimension): `AUXILIARY_HEAD`, `CLASSIFIER`.

    Returns:
        The names to take from the weights, in the network's order: all of `expected` but the groups of `optional`
        that are not there or are of another size.

    Raises:
        WeightsMismatchError: anything else differs; its first line is the summary, then each difference follows.
    """
    skipped = {prefix for prefix in optional if _may_skip(prefix, found, expected)}
    wanted = {name: shape for name, shape in expected.items() if not name.startswith(tuple(skipped))}
    missing = [name for name in wanted if name not in found]
    wrong = [
        f"{name}: {_text(found[name])}, not {_text(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    unknown = [name for name in found if name not in expected and not _is_extra(name, skipped)]
    if missing or wrong or unknown:
        lines = [
            f"{origin} does not fit the network: {len(missing)} variables missing, {len(wrong)} of another shape, "
            f"{len(unknown)} unknown; check that the model and the weights belong together",
            *_listed("missing", missing),
            *_listed("of another shape", wrong),
            *_listed("unknown", unknown),
        ]
        raise WeightsMismatchError("\n".join(lines))
    return tuple(wanted)


def _may_skip(prefix: str, found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> bool:
    """Say whether the group is absent on one side, or whole on both and of another number of classes."""
    there = {name: shape for name, shape in found.items() if _in_group(name, prefix)}
    wanted = {name: shape for name, shape in expected.items() if _in_group(name, prefix)}
    if not there or not wanted:
        return True
    return (
        there.keys() == wanted.keys()
        and all(tuple(there[name][:-1]) == tuple(wanted[name][:-1]) for name in wanted)
        and any(tuple(there[name]) != tuple(wanted[name]) for name in wanted)
    )


def _in_group(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and not _TRAINING_STATE.search(name)


def _is_extra(name: str, skipped: Collection[str]) -> bool:
    return bool(_TRAINING_STATE.search(name)) or name.startswith(tuple(skipped))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _listed(kind: str, lines: list[str]) -> list[str]:
    more = [f"  ... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return [f"{kind}:", *(f"  {line}" for line in lines[:_LISTED]), *more] if lines else []
