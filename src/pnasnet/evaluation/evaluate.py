"""Runs a classifier on labelled images and evaluates its predictions."""

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
from ..support.arguments import checked
from ..support.progress import Progress, counter, silent
from .calibration import Calibration
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
    """The counts of the readable images, and the failures."""

    tally: Tally
    calibration: Calibration = field(default_factory=Calibration)
    read: list[int] = field(default_factory=list)
    """The index of each image in `tally`."""
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Count logits [B, C] with the true classes [B]."""
        self.tally.add(logits, labels)
        self.calibration.add(logits, labels)


@checked
def evaluate(
    module: "Module", data: "LabelledImages", options: ExtractOptions = DEFAULTS, *, progress: Progress = silent
) -> Evaluation:
    """Classify all images and compare the predictions with the labels.

    Unreadable images are not part of the figures; they are counted, and the first few are named.

    Args:
        module: a network with a classifier.
        data: the images; `match_classes` matches their classes to the logits.
        options: preprocessing, batch size and number of decoders.
        progress: receives the number of images done.

    Raises:
        InputError: there is no classifier, no readable image, or no match between classes and logits.
        UnknownNameError: there is no preset with that name.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.evaluation import evaluate
        >>> result = evaluate(Module("pnasnet_tiny"), open_dataset("animals"))
        >>> result.images, result.top1.value > 0.7
        (60, True)
    """
    started = time.perf_counter()
    classes = module.model.spec.num_classes
    if not classes:
        raise InputError(f"{module.model.name} has no classifier: its weights only compute feature vectors")
    match = _match(data, classes, module.labels)
    targets = match.logits[data.labels]
    counted = _Counted(Tally(classes, mistakes=_MISTAKES))
    advance = counter(progress, "images", len(data))
    # Logits, since probabilities close to 1 round to equal values, which loses their order.
    with closing(extract_labelled(module, data, "Logits", options)) as batches:
        for batch in batches:
            start = len(counted.read) + counted.failed
            good = [start + index for index, row in enumerate(batch.rows) if row.error is None]
            failures = [row.error for row in batch.rows if row.error is not None]
            if good:
                counted.add(batch.vectors, targets[good])
            counted.read += good
            counted.failed += len(failures)
            counted.errors += failures[: _EXAMPLES - len(counted.errors)]
            advance(len(batch.rows))
    if not counted.read:
        raise InputError(f"none of the {len(data):,} images could be read: {counted.errors[0]}")
    result = _evaluation(module, data, options, "Logits", match, module.labels, counted)
    return replace(result, seconds=time.perf_counter() - started)


@checked
def evaluate_logits(
    module: "Module", endpoint: str, data: "LabelledImages", logits: NDArray[np.floating[Any]], options: ExtractOptions
) -> Evaluation:
    """Evaluate the logits of a classifier that was fitted on a module's features.

    Args:
        module: the network that computed the features.
        endpoint: the endpoint of the features.
        data: the images, all of which were readable.
        logits: float [N, classes of the data].
        options: the options with which the features were computed.

    Raises:
        InputError: there are no images, or the logits do not match the data.

    Example:
        >>> import numpy as np
        >>> from pnasnet import Module
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.evaluation import evaluate_logits
        >>> from pnasnet.extract import ExtractOptions
        >>> data = open_dataset("animals")
        >>> perfect = np.eye(3)[data.labels]
        >>> evaluate_logits(Module("pnasnet_tiny"), "global_pool", data, perfect, ExtractOptions()).top1.value
        1.0
    """
    match = _match(data, len(data.classes), data.classes)
    counted = _Counted(Tally(len(data.classes), mistakes=_MISTAKES), read=list(range(len(data))))
    counted.add(logits, match.logits[data.labels])
    return _evaluation(module, data, options, endpoint, match, data.classes, counted)


def _match(data: "LabelledImages", classes: int, labels: tuple[str, ...] | None) -> ClassMatch:
    if not len(data):
        raise InputError("the data has no images to evaluate")
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
        calibration=counted.calibration,
        published=_published(module, match),
        seconds=0.0,
    )


def _logit_names(
    data: "LabelledImages", match: ClassMatch, labels: tuple[str, ...] | None, num_logits: int
) -> list[str]:
    """Return the name of each logit: the model's if it has names, else the data's."""
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
    """Return the published figures of these weights, if the classes are ImageNet's and the image size is theirs.

    Weights are recognised by the name of the set or of the downloaded file.
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
