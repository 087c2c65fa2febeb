"""Runs a fine-tuning: split, features, classifier, network, report."""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..datasets.given import label_images
from ..engines import EngineOptions
from ..engines.options import DEFAULTS as ANY_ENGINE
from ..errors import InputError
from ..evaluation import Tally, evaluate, evaluate_logits
from ..extract import ExtractOptions
from ..extract.options import DEFAULTS
from ..images import get_preset
from ..module.module import Module
from ..module.open import ModelName, WeightsName
from ..support.arguments import checked
from ..support.contexts import contextmanager
from ..support.locks import locked
from ..support.progress import Progress, silent
from ..training.machine import DEFAULTS as ANY_MACHINE
from ..training.machine import Machine
from ..weights import open_weights
from .features import ENDPOINT, digests, features_of, features_settings
from .folder import FEATURES, SPLITS, TRAINING, check_finished, check_start, finish, write_candidate
from .head import Head, Labelled, train_head
from .options import FinetuneOptions
from .result import FinetuneResult
from .splits import PARTS, Split, kept_split

log = logging.getLogger(__name__)

_ROUNDING = 1e-6
"""Accuracies that differ by less count as equal, because torch computes them in float32."""
Floats = NDArray[np.float32]


@checked
def finetune(
    model: ModelName,
    data: Any,
    folder: str | PathLike[str],
    options: FinetuneOptions | None = None,
    *,
    labels: Any = None,
    weights: WeightsName | None = None,
    extract: ExtractOptions = DEFAULTS,
    engine: EngineOptions = ANY_ENGINE,
    machine: Machine = ANY_MACHINE,
    overwrite: bool = False,
    progress: Progress = silent,
    source: str = "",
    command: str = "",
) -> FinetuneResult:
    """Train a classifier of your own classes on a model's features, and write the new model to `folder`.

    A linear classifier is trained on the features of all images and, with `options.full`, then the whole network.
    `model.safetensors`, a model like any other, is written last. Choices are logged as INFO.

    Args:
        model: the model to start from, as for `Module`.
        data: labelled images, as `open_dataset` returns them; or with `labels`, images as for `label_images`.
        folder: the folder to write; an interrupted run in it is resumed.
        options: fractions, seed, rates.
        labels: the class of each image, in the same order or as a mapping from paths; see `label_images`.
        weights: other weights than the published ones.
        extract, engine: options of the features.
        machine: the hardware for training the whole network.
        overwrite: whether to replace a finished model; its split and features are kept.
        progress: receives images read, features, strengths and batches. Exceptions from it end the run.
        source, command: the user's name of the images, and the command that repeats the run, for the card.

    Raises:
        InputError: a class has too few images, or none that can be read; or the folder has a split of other images.
        OutputError: the folder holds a finished model or other files, or is in use or not writable; see its subclasses.
        MissingExtraError: a package of the extra `finetune`, or with `full` of `train`, is not installed.
    """
    options, folder = options or FinetuneOptions(), Path(folder)
    data = _labelled(data, labels)
    rank = check_start(data, folder, options, machine)
    with locked(folder) if rank == 0 else nullcontext():  # the other devices' processes only read
        module = Module(model, weights, engine=engine)
        run = _FineTuning(module, engine, data, folder, options, _with_preset(extract, module), rank, source, command)
        run.prepare(progress, overwrite=overwrite)
        head = _train_classifier(run, progress)
        network, history = _tune(run, head, (model, weights), machine, progress) if options.full else (None, [])
        return _finish(run, head, network, history, progress)


def _labelled(data: Any, labels: Any) -> LabelledImages:
    if labels is not None:
        return label_images(data, labels)
    if not isinstance(data, LabelledImages):
        raise InputError("the images have no labels: pass labels, or open them with pnasnet.datasets.open_dataset")
    return data


def _with_preset(extract: ExtractOptions, module: Module) -> ExtractOptions:
    """Return the options with the preprocessing of the new model, which includes the EXIF orientation."""
    preset = get_preset(extract.preset or module.preset)
    return replace(extract, preset=(preset if extract.exif is None else preset.turned(extract.exif)).name, exif=None)


@dataclass
class _FineTuning:
    """The state of a run: images by part, their features, durations and notes."""

    module: Module
    engine: EngineOptions
    data: LabelledImages
    folder: Path
    options: FinetuneOptions
    extract: ExtractOptions
    rank: int
    source: str
    command: str
    split: Split = field(init=False)
    contents: Sequence[bytes | None] = field(init=False)
    vectors: Floats = field(init=False)
    skipped: list[str] = field(init=False)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def prepare(self, progress: Progress, *, overwrite: bool) -> None:
        """Split the images, compute their features or reuse those in the folder, and drop unreadable images."""
        if self.module.model.quantized:
            raise InputError(f"{self.module.model.origin} is quantized: fine-tune the model that it was made from")
        if not overwrite:
            check_finished(self.folder, features_settings(self.module, self.extract), self.data, self.options)
        with self.timed("features"):
            contents = digests(self.data, progress)
            split = kept_split(self.folder / SPLITS, self.data, contents, self.options.split)
            features = features_of(
                self.module,
                self.data,
                contents,
                self.folder / FEATURES,
                self.extract,
                progress=progress,
                overwrite=overwrite,
                write=self.rank == 0,
            )
        for text in split.notes:
            self.note(text)
        if features.computed < len(self.data):
            reused = len(self.data) - features.computed
            log.info("reusing the features of %s of %s images", f"{reused:,}", f"{len(self.data):,}")
        features.check_classes(self.data)
        readable = np.flatnonzero(features.readable)
        self.split = replace(split, parts=split.parts[readable])
        self.data, self.vectors = self.data.take(readable), features.vectors[readable]
        self.contents, self.skipped = [contents[index] for index in readable], features.errors
        self.check_parts()

    @property
    def preset(self) -> str:
        """The preprocessing of the new model."""
        return self.extract.preset or "hub"

    @property
    def measured(self) -> str:
        """The part that the model is evaluated on."""
        return "test" if "test" in self.split.parts else "validation"

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record the duration of a stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start

    def note(self, text: str | None) -> None:
        """Log a sentence, if there is one, and keep it for the card."""
        if text:
            self.notes.append(text)
            log.info("%s", text)

    def indices(self, part: str) -> NDArray[np.int64]:
        """Return the images of a part."""
        return np.flatnonzero(self.split.parts == part)

    def pictures(self, part: str) -> LabelledImages:
        """Return the images of a part with their classes."""
        return self.data.take(self.indices(part))

    def labelled(self, part: str) -> Labelled:
        """Return the features and labels of a part."""
        chosen = self.indices(part)
        return Labelled(self.vectors[chosen], self.data.labels[chosen])

    def check_parts(self) -> None:
        """Raise `InputError` if a class has no image to train on, or no image is left to validate."""
        for name, count in zip(self.data.classes, self.pictures("training").counts(), strict=True):
            if not count:
                raise InputError(f"class {name!r} has no readable image to train on: add some")
        if not len(self.indices("validation")):
            raise InputError("no validation image can be read: repair or add images")

    def note_on_unmeasured_classes(self) -> str | None:
        """Return a sentence about classes without images in the evaluated part; None if all have some."""
        counts = self.pictures(self.measured).counts()
        names = [name for name, count in zip(self.data.classes, counts, strict=True) if not count]
        if not names:
            return None
        if len(names) == 1:
            return f"class {names[0]!r} has no {self.measured} image, so its accuracy is not measured"
        return (
            f"{len(names):,} classes, such as {names[0]!r}, have no {self.measured} image, so their accuracy is not "
            "measured"
        )


def _classifier_note(module: Module, classes: int) -> str:
    old = module.model.spec.num_classes
    if old is None:
        return f"the weights have no classifier; one for {classes} classes was added"
    return f"the classifier for {old:,} classes was replaced by one for {classes:,}"


def _tune(
    run: _FineTuning,
    head: Head,
    start: tuple[ModelName, WeightsName | None],
    machine: Machine,
    progress: Progress,
) -> tuple[dict[str, Floats] | None, list[dict[str, float]]]:
    """Train the whole network; return its variables, or None if the classifier validates better, and the history."""
    from .full import fine_tune, lacks_aux_head, trainable

    module = trainable(*start, len(run.data.classes), run.options.seed)
    if lacks_aux_head(module):
        run.note("the weights have no auxiliary head for these classes; a new one is trained as well")
    contents = np.array(run.contents, object)
    sets = [(run.pictures(part), contents[run.indices(part)].tolist()) for part in ("training", "validation")]
    path = run.folder / TRAINING
    with run.timed("network"):
        fitted = fine_tune(module, head.variables(), sets, path, run.options, machine, run.preset, progress)
    run.rank = fitted.rank
    wanted = module.model.plan.variables()
    variables = {name: value for name, value in fitted.network.to_variables().items() if name in wanted}
    if run.rank == 0 and (text := _worse(run, head, fitted.history)):
        run.note(f"{text}: the classifier alone was kept")
        return None, fitted.history
    return variables, fitted.history


def _worse(run: _FineTuning, head: Head, history: Sequence[dict[str, float]]) -> str | None:
    """Return a sentence with both accuracies if the classifier alone validates better; None otherwise."""
    best = min(history, key=lambda epoch: epoch.get("validation_loss", np.inf))
    if run.options.balanced:
        validation = run.labelled("validation")
        tally = Tally(len(run.data.classes))
        tally.add(head.logits(validation.features), validation.labels)
        whole, alone, unit = best["validation_recall"], tally.balanced_accuracy() or 0.0, "mean validation recall"
    else:
        whole, alone, unit = best["validation_top1"], head.chosen.validation_top1, "validation top-1"
    if whole > alone - _ROUNDING:
        return None
    return f"training the whole network reached a {unit} of {whole:.2%}, the classifier alone {alone:.2%}"


def _finish(
    run: _FineTuning,
    head: Head,
    network: Mapping[str, Floats] | None,
    history: Sequence[dict[str, float]],
    progress: Progress,
) -> FinetuneResult:
    """Evaluate the model, the whole network or the classifier alone, and write the folder."""
    measured, part = run.labelled(run.measured), run.measured
    pictures, base = run.pictures(part), run.module.model
    evaluation = evaluate_logits(run.module, ENDPOINT, pictures, head.logits(measured.features), run.extract)
    head_top1 = evaluation.top1.value or 0.0
    checksum = base.checksum
    if run.rank == 0:
        candidate = write_candidate(run.folder, base, network or head.variables(), run.data.classes, run.preset)
        checksum = open_weights(candidate).checksum()
        if network:
            evaluation = evaluate(Module(candidate, engine=run.engine), pictures, run.extract, progress=progress)
    evaluation = replace(
        evaluation, model=base.name, weights=f"{base.origin}, fine-tuned", weights_sha256=checksum, published=None
    )
    result = FinetuneResult(
        base=base.name,
        base_weights=base.origin,
        source=run.source,
        command=run.command,
        classes=run.data.classes,
        counts={part: run.pictures(part).counts() for part in PARTS},
        head=head,
        evaluation=evaluation,
        part=part,
        head_top1=head_top1,
        tuned=network is not None,
        history=history,
        skipped=run.skipped,
        notes=run.notes,
        settings=_settings(run.split, run.options),
        seconds=run.seconds,
        rank=run.rank,
    )
    if run.rank == 0:
        finish(run.folder, result, pictures.read)
        if run.options.full:
            shutil.rmtree(run.folder / TRAINING, ignore_errors=True)  # only needed to resume
    return result


def _settings(split: Split, options: FinetuneOptions) -> dict[str, str]:
    """Return the options by name, with the settings of the stored split."""
    made = split.settings
    stated = {**asdict(options), "validation": made.validation, "test": made.test, "split_seed": made.seed}
    return {name: str(value) for name, value in stated.items()}


def _train_classifier(run: _FineTuning, progress: Progress) -> Head:
    classes = len(run.data.classes)
    with run.timed("classifier"):
        head = train_head(
            run.labelled("training"),
            run.labelled("validation"),
            classes,
            balanced=run.options.balanced,
            progress=progress,
        )
    run.note(_classifier_note(run.module, classes))
    run.note(run.note_on_unmeasured_classes())
    return head
