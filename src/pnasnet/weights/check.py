"""Checks that weights match a network: names in both directions and every shape; one error lists all differences."""

import re
from collections.abc import Collection, Mapping

from ..errors import WeightsMismatchError
from ..support.arguments import checked
from ..support.text import counted
from .arrays import ArrayShape

AUXILIARY_HEAD = "aux_"
"""Prefix of the auxiliary head's variables, which only training uses."""
CLASSIFIER = "final_layer/"
"""Prefix of the classifier's variables: optional for features, and for a new number of classes."""

_LISTED = 20  # of each kind of difference

_TRAINING_STATE = re.compile(
    r"(?:^|/)(?:global_step|save_counter|beta[12]_power|ExponentialMovingAverage|Adadelta|Adagrad|Adam|Ftrl|Momentum|"
    r"RMSProp)(?:_\d+)?$"
)


def is_training_state(name: str) -> bool:
    """Return whether a name is a step counter, an optimizer slot or a moving average: no variable of a network."""
    return bool(_TRAINING_STATE.search(name))


@checked
def check_weights(
    found: Mapping[str, ArrayShape],
    expected: Mapping[str, ArrayShape],
    *,
    origin: str,
    optional: Collection[str] = (AUXILIARY_HEAD,),
) -> tuple[str, ...]:
    """Compare the variables in weights with those of a network.

    Step counters, optimizer slots and moving averages are ignored.

    Args:
        found: names and shapes in the weights.
        expected: names and shapes of the network's variables.
        origin: name of the weights in the error.
        optional: prefixes of optional groups. `AUXILIARY_HEAD` may differ in any way; `CLASSIFIER` may be missing on
            either side, or have another number of classes (the last dimension).

    Returns:
        The names to read from the weights, in the network's order: all of `expected` except optional groups that
        differ.

    Raises:
        WeightsMismatchError: anything else differs. The first line is a summary; the differences follow.
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
            f"{origin} does not match the network: {counted(len(missing), 'variable')} missing, {len(wrong):,} with "
            f"another shape, {len(unknown):,} unknown; check that the model and the weights belong together",
            *_listed("missing", missing),
            *_listed("with another shape", wrong),
            *_listed("unknown", unknown),
        ]
        raise WeightsMismatchError("\n".join(lines))
    return tuple(wanted)


def _may_skip(prefix: str, found: Mapping[str, ArrayShape], expected: Mapping[str, ArrayShape]) -> bool:
    """Return whether a group is missing on one side, or differs in an allowed way."""
    present = {name: tuple(shape) for name, shape in found.items() if _in_group(name, prefix)}
    wanted = {name: tuple(shape) for name, shape in expected.items() if _in_group(name, prefix)}
    if not present or not wanted:
        return True
    if prefix == AUXILIARY_HEAD:
        return present != wanted
    same_inputs = present.keys() == wanted.keys() and all(present[name][:-1] == wanted[name][:-1] for name in wanted)
    return same_inputs and present != wanted


def _in_group(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and not is_training_state(name)


def _is_extra(name: str, skipped: Collection[str]) -> bool:
    return is_training_state(name) or name.startswith(tuple(skipped))


def _text(shape: ArrayShape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _listed(kind: str, lines: list[str]) -> list[str]:
    more = [f"  ... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return [f"{kind}:", *(f"  {line}" for line in lines[:_LISTED]), *more] if lines else []
