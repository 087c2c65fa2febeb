"""Run labelled pictures through a classifier and count the right answers."""

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.zoo import NETWORKS, PublishedWeights
from ..errors import InputError
from ..extract.embed import extract_labelled
from ..extract.options import DEFAULTS, ExtractOptions
from ..images import get_preset
from ..support.progress import Progress, counter, silent
from .match import ClassMatch, is_whole_imagenet, match_classes
from .metrics import Tally
from .result import ClassFigures, Confusion, Evaluation, Mistake

if TYPE_CHECKING:
    from ..datasets import LabelledImages
    from ..module.module import Module

_EXAMPLES = 5
_MISTAKES = 50


@dataclass
class _Counted:
    """The tally of the readable pictures, and the failures."""

    tally: Tally
    read: list[int] = field(default_factory=list)
    """The index of each picture in `tally`."""
    failed: int = 0
    errors: list[str] = field(default_factory=list)


def evaluate(
    module: "Module", data: "LabelledImages", options: ExtractOptions = DEFAULTS, *, progress: Progress = silent
) -> Evaluation:
    """Classify all pictures and compare with their labels.

    Pictures that cannot be read are left out of the figures and counted, and the first few are named.

    Args:
        module: the network, with a classifier.
        data: the pictures; `match_classes` matches their classes to the logits.
        options: preprocessing, batch size, decoders.
        progress: receives the number of pictures done.

    Raises:
        InputError: no classifier, no pictures, none that can be read, or classes that do not match.
        UnknownNameError: no such preset.
    """
    started = time.perf_counter()
    classes = module.model.spec.num_classes
    if not classes:
        raise InputError(f"{module.model.name} has no classifier: its weights only compute feature vectors")
    match = _match(data, classes, module.labels)
    targets = match.logits[data.labels]
    counted = _Counted(Tally(classes, mistakes=_MISTAKES))
    advance = counter(progress, "images", len(data))
    # Logits instead of probabilities: those close to 1 round to equal values, and their order would be lost.
    with closing(extract_labelled(module, data, "Logits", options)) as batches:
        for batch in batches:
            start = len(counted.read) + counted.failed
            good = [start + index for index, row in enumerate(batch.rows) if row.error is None]
            failures = [row.error for row in batch.rows if row.error is not None]
            if good:
                counted.tally.add(batch.vectors, targets[good])
            counted.read += good
            counted.failed += len(failures)
            counted.errors += failures[: _EXAMPLES - len(counted.errors)]
            advance(len(batch.rows))
    if not counted.read:
        raise InputError(f"none of the {len(data):,} pictures could be read: {counted.errors[0]}")
    result = _evaluation(module, data, options, "Logits", match, module.labels, counted)
    return replace(result, seconds=time.perf_counter() - started)


def evaluate_logits(
    module: "Module", endpoint: str, data: "LabelledImages", logits: NDArray[np.floating[Any]], options: ExtractOptions
) -> Evaluation:
    """Evaluate a classifier of the data's classes on a module's features.

    Args:
        module: the network that computed the features.
        endpoint: which of its endpoints they are.
        data: the pictures; all of them were read.
        logits: float [N, classes of the data], what the classifier makes of the features.
        options: how the features were computed.

    Raises:
        InputError: no pictures, or logits that do not fit the data.
    """
    match = _match(data, len(data.classes), data.classes)
    counted = _Counted(Tally(len(data.classes), mistakes=_MISTAKES), list(range(len(data))))
    counted.tally.add(logits, match.logits[data.labels])
    return _evaluation(module, data, options, endpoint, match, data.classes, counted)


def _match(data: "LabelledImages", classes: int, labels: tuple[str, ...] | None) -> ClassMatch:
    if not len(data):
        raise InputError("the data has no pictures to evaluate on")
    return match_classes(data.classes, classes, labels)


def _evaluation(
    module: "Module",
    data: "LabelledImages",
    options: ExtractOptions,
    endpoint: str,
    match: ClassMatch,
    labels: tuple[str, ...] | None,
    counted: _Counted,
) -> Evaluation:
    tally, model = counted.tally, module.model
    preset = get_preset(options.preset or module.preset)
    names = _logit_names(data, match, labels, tally.classes)
    return Evaluation(
        model=model.name,
        weights=model.origin,
        weights_sha256=model.checksum,
        preset=preset.name,
        exif=preset.exif if options.exif is None else options.exif,
        image_size=module.image_size,
        precision=module.precision,
        engine=module.engine_for((endpoint,)).description,
        matching=match.note,
        num_logits=tally.classes,
        images=tally.count,
        failed=counted.failed,
        errors=tuple(counted.errors),
        top1=tally.top(1),
        top5=tally.top(5) if tally.classes > 5 else None,
        balanced_accuracy=tally.balanced_accuracy(),
        most_frequent=tally.most_frequent(),
        per_class=tuple(
            ClassFigures(name, names[logit], logit, tally.recall(logit), tally.precision(logit))
            for name, logit in zip(data.classes, match.logits.tolist(), strict=True)
        ),
        confusions=tuple(Confusion(names[true], names[predicted], n) for true, predicted, n in tally.confusions()),
        mistakes=tuple(_mistakes(data, match, counted, names)),
        published=_published(module, match),
        seconds=0.0,
    )


def _logit_names(
    data: "LabelledImages", match: ClassMatch, labels: tuple[str, ...] | None, num_logits: int
) -> list[str]:
    """Return the name of each logit: the model's, or else the data's."""
    if labels is not None:
        return list(labels)
    names = [f"class {index}" for index in range(num_logits)]
    for name, logit in zip(data.classes, match.logits, strict=True):
        names[logit] = name
    return names


def _mistakes(data: "LabelledImages", match: ClassMatch, counted: _Counted, names: list[str]) -> Iterable[Mistake]:
    for place, predicted, probability in counted.tally.mistakes:
        index = counted.read[place]
        true = names[match.logits[data.labels[index]]]
        yield Mistake(str(data.names[index]), true, names[predicted], probability, index)


def _published(module: "Module", match: ClassMatch) -> PublishedWeights | None:
    """Return the zoo's record of these weights, if its figures are comparable: ImageNet's classes, the same size.

    Weights are recognised by the name of their set, which is also that of a downloaded file or folder.
    """
    if not is_whole_imagenet(match, module.model.spec.num_classes or 0, module.labels):
        return None
    origin = module.model.origin
    file = Path(origin).name.removesuffix(".tar.gz").removesuffix(".pth")
    for network in NETWORKS.values():
        for record in network.weights:
            if record.id in (origin, file) and record.top1 and module.image_size == network.spec.image_size:
                return record
    return None
