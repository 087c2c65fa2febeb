"""Labelled pictures through a classifier, counted."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..architecture.zoo import NETWORKS, PublishedWeights
from ..errors import InputError
from ..extract.labelled import extract_labelled
from ..extract.options import DEFAULTS, ExtractOptions
from ..extract.pipeline import Batch
from ..images import get_preset
from .match import ClassMatch, is_whole_imagenet, match_classes
from .metrics import Tally, confident_mistakes
from .result import ClassFigures, Confusion, Evaluation, Mistake

if TYPE_CHECKING:
    from ..datasets import LabelledImages
    from ..module.module import Module

_EXAMPLES = 5
_MISTAKES = 50


@dataclass
class _Run:
    """What was counted, and which pictures that were."""

    tally: Tally
    read: list[int] = field(default_factory=list)
    """The index of each picture in `tally`."""
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, batch: Batch, targets: NDArray[np.int64]) -> None:
        """Count a batch; `targets` are the logits of all pictures."""
        start = len(self.read) + self.failed
        good = [start + index for index, row in enumerate(batch.rows) if row.error is None]
        failures = [row.error for row in batch.rows if row.error is not None]
        if good:
            self.tally.add(batch.vectors, targets[good])
        self.read += good
        self.failed += len(failures)
        self.errors += failures[: _EXAMPLES - len(self.errors)]


def evaluate(
    module: "Module",
    data: "LabelledImages",
    options: ExtractOptions = DEFAULTS,
    *,
    progress: Callable[[int], None] = lambda images: None,
) -> Evaluation:
    """Classify all pictures and compare with their labels.

    Pictures that cannot be read are left out of the figures, counted, and the first few are named.

    Args:
        module: the network, with a classifier.
        data: the pictures; `match_classes` says how their classes meet the logits.
        options: preprocessing, batch size, decoders; the endpoint does not matter.
        progress: called with the number of new pictures after each batch, in the caller's thread.

    Raises:
        InputError: no classifier, no picture, none that can be read, or classes that do not belong together.
        UnknownNameError: there is no such preset.
    """
    started = time.perf_counter()
    classes = module.model.spec.num_classes
    if not classes:
        raise InputError(f"{module.model.name} has no classifier: its weights only make feature vectors")
    if not len(data):
        raise InputError("the data has no pictures to evaluate on")
    match = match_classes(data.classes, classes, module.labels)
    targets = match.logits[data.labels]
    run = _Run(Tally(classes, keep=True))
    # Logits and not probabilities: far from 1 those round to equal values, and ranks would be lost.
    with closing(extract_labelled(module, data, "Logits", options)) as batches:
        for batch in batches:
            run.add(batch, targets)
            progress(len(batch.rows))
    if not run.read:
        raise InputError(f"none of the {len(data):,} pictures could be read: {run.errors[0]}")
    return _evaluation(module, data, options, match, run, time.perf_counter() - started)


def _evaluation(
    module: "Module", data: "LabelledImages", options: ExtractOptions, match: ClassMatch, run: _Run, seconds: float
) -> Evaluation:
    tally, model = run.tally, module.model
    preset = get_preset(options.preset or module.preset)
    names = _logit_names(module, data, match)
    balanced = tally.balanced_accuracy()
    assert balanced is not None  # there are pictures
    return Evaluation(
        model=model.name,
        weights=model.origin,
        weights_sha256=model.checksum,
        preset=preset.name,
        exif=preset.exif if options.exif is None else options.exif,
        image_size=module.image_size,
        precision=module.precision,
        engine=module.engine_for(("Logits",)).description,
        matching=match.note,
        num_logits=tally.classes,
        images=tally.count,
        failed=run.failed,
        errors=tuple(run.errors),
        top1=tally.top(1),
        top5=tally.top(5) if tally.classes > 5 else None,
        balanced_accuracy=balanced,
        per_class=tuple(
            ClassFigures(name, names[logit], logit, tally.recall(logit), tally.precision(logit))
            for name, logit in zip(data.classes, match.logits.tolist(), strict=True)
        ),
        confusions=tuple(Confusion(names[true], names[taken], n) for true, taken, n in tally.confusions()),
        mistakes=_mistakes(data, run, names),
        published=_published(module, match),
        seconds=seconds,
    )


def _logit_names(module: "Module", data: "LabelledImages", match: ClassMatch) -> list[str]:
    """Return what each logit is called: by the model, or else by the data."""
    if module.labels is not None:
        return list(module.labels)
    names = [f"class {index}" for index in range(module.model.spec.num_classes or 0)]
    for name, logit in zip(data.classes, match.logits, strict=True):
        names[logit] = name
    return names


def _mistakes(data: "LabelledImages", run: _Run, names: list[str]) -> tuple[Mistake, ...]:
    judged = run.tally.judged()
    return tuple(
        Mistake(
            str(data.names[run.read[index]]),
            names[judged.true[index]],
            names[judged.predicted[index]],
            float(judged.probability[index]),
        )
        for index in confident_mistakes(judged, _MISTAKES)
    )


def _published(module: "Module", match: ClassMatch) -> PublishedWeights | None:
    """Return the zoo's record of these weights, if it states a figure that ImageNet's pictures can be held against.

    Weights are known by the name of their set, which a downloaded file or folder bears too.
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
