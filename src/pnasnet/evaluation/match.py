"""Matches the classes of labelled images to the logits of a classifier: by name, by WordNet id, or by number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..architecture.labels import labels, wordnet_ids
from ..errors import InputError
from ..support.arguments import checked
from ..support.text import some_of

_SAME_ORDER = 0.99
"""Fraction of equal names that proves ImageNet's order; published lists spell a few names differently."""


@dataclass(frozen=True)
class ClassMatch:
    """The logit of each class of the data.

    Attributes:
        logits: int64 [classes of the data], all different.
        note: one line on how the classes were matched.

    Example:
        >>> from pnasnet.evaluation import match_classes
        >>> match_classes(("dog", "cat"), 2, names=("cat", "dog")).note
        '2 matched by name'
    """

    logits: NDArray[np.int64]
    note: str


@checked
def match_classes(classes: Sequence[str], num_logits: int, names: Sequence[str] | None) -> ClassMatch:
    """Find the logit of each class.

    Args:
        classes: the names of the data's classes.
        num_logits: the width of the classifier; 1001 with ImageNet's background in front.
        names: the classifier's class names by logit; None if unknown.

    Raises:
        InputError: the classes do not match.

    Example:
        >>> from pnasnet.evaluation import match_classes
        >>> match_classes(("dog", "cat"), 2, names=("cat", "dog")).logits
        array([1, 0])
    """
    imagenet = is_imagenet(num_logits, names)
    offset = num_logits - 1000 if imagenet else 0
    known = {name: index for index, name in enumerate(names or ())}
    if names and len(known) == len(names) and all(name in known for name in classes):
        logits = [known[name] for name in classes]
        return _matched(logits, num_logits, "by name", offset if 0 not in logits else 0)
    if imagenet:
        ids = {id_: index + offset for index, id_ in enumerate(wordnet_ids())}
        if all(name in ids for name in classes):
            return _matched([ids[name] for name in classes], num_logits, "by WordNet id", offset)
        if _in_imagenet_order(classes):
            return _matched(range(offset, num_logits), num_logits, "by ImageNet's order, as their names show", offset)
    if names and (same := _by_first_lemma(classes, names)):
        return _matched(same, num_logits, "by the first of their names")
    if (numbers := _numbers(classes)) is not None:
        if len(classes) == num_logits:
            return _matched(numbers, num_logits, f"by number{_ends(names)}")
        if offset == 1 and len(classes) == 1000:
            return _matched([number + 1 for number in numbers], num_logits, f"by number + 1{_ends(names, 1)}", 1)
    raise InputError(_mismatch(classes, num_logits, names))


def is_imagenet(num_logits: int, names: Sequence[str] | None) -> bool:
    """Return whether a classifier has ImageNet's classes: 1000 or 1001 logits, with ImageNet's names or none."""
    if num_logits not in (1000, 1001):
        return False
    return names is None or tuple(names) == labels("imagenet1001" if num_logits == 1001 else "imagenet1000")


def is_whole_imagenet(match: ClassMatch, num_logits: int, names: Sequence[str] | None) -> bool:
    """Return whether both the data and the classifier have all 1000 classes of ImageNet."""
    if not is_imagenet(num_logits, names) or len(match.logits) != 1000:
        return False
    return bool((np.sort(match.logits) == np.arange(num_logits - 1000, num_logits)).all())


def _matched(logits: Sequence[int], num_logits: int, how: str, offset: int = 0) -> ClassMatch:
    note = f"{len(logits):,} matched {how}"
    others = num_logits - len(logits) - offset
    if offset:
        note += "; the background logit before them competes and is never right"
    if others:
        note += f"; the model's other {others:,} compete{'s' if others == 1 else ''}"
    return ClassMatch(np.array(logits, np.int64), note)


def _numbers(classes: Sequence[str]) -> list[int] | None:
    """Return the classes as numbers if they are "0" to "N - 1", in any order."""
    number_of = {str(number): number for number in range(len(classes))}
    if len(set(classes)) < len(classes) or any(name not in number_of for name in classes):
        return None
    return [number_of[name] for name in classes]


def _in_imagenet_order(classes: Sequence[str]) -> bool:
    """Return whether the classes are ImageNet's names in its order, as in Hugging Face's `imagenet-1k`."""
    ours = labels("imagenet1000")
    if len(classes) != len(ours):
        return False
    same = sum(_first_lemma(one) == _first_lemma(other) for one, other in zip(classes, ours, strict=True))
    return same >= _SAME_ORDER * len(ours)


def _by_first_lemma(classes: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """Match "goldfish, Carassius auratus" or ImageNet's n01443537 to "goldfish"; None unless each class matches one."""
    name_of = dict(zip(wordnet_ids(), labels("imagenet1000"), strict=True))
    ours = [_first_lemma(name_of.get(name, name)) for name in classes]
    logits: dict[str, list[int]] = {}
    for logit, name in enumerate(names):
        logits.setdefault(_first_lemma(name), []).append(logit)
    if len(set(ours)) < len(ours) or any(len(logits.get(lemma, ())) != 1 for lemma in ours):
        return None
    return [logits[lemma][0] for lemma in ours]


def _first_lemma(name: str) -> str:
    return name.partition(",")[0].partition(" (")[0].replace("_", " ").strip().casefold()


def _ends(names: Sequence[str] | None, first: int = 0) -> str:
    """Return a note with the names of the first and the last number."""
    return f" (0 is {names[first]}, {len(names) - 1 - first} is {names[-1]})" if names else ""


def _mismatch(classes: Sequence[str], num_logits: int, names: Sequence[str] | None) -> str:
    if _numbers(classes) is not None:
        return (
            f"the data's {len(classes):,} classes are numbers without names, and the model has {num_logits:,} logits: "
            "name the data's classes, or evaluate a model with the same number"
        )
    if names is None:
        return (
            f"the model's {num_logits:,} classes have no names, and the data's are {some_of(classes)}: name the data's "
            f"classes 0 to {num_logits - 1}, or evaluate weights that contain their labels"
        )
    known = set(names)
    if len(known) < len(names):
        return (
            f"the model has {len(names):,} classes but only {len(known):,} different names: give each a name of its own"
        )
    unknown = [name for name in classes if name not in known]
    return (
        f"{len(unknown):,} of the data's {len(classes):,} classes are not among the model's {num_logits:,}: the "
        f"data has {some_of(unknown)}; the model has {some_of(names)}: rename or remove those classes, or evaluate a "
        "model that was trained on them"
    )
