"""Transfer learning from pictures to a model's folder: split, features, classifier, network, report."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..charts import check_packages
from ..datasets import LabelledImages
from ..errors import InputError
from ..evaluation import Tally, confident_mistakes
from ..extract import ExtractOptions, extract_labelled
from ..extract.options import DEFAULTS
from ..model import ModelName, WeightsName
from ..module import Module
from ..train.machine import DEFAULTS as ANY_MACHINE
from ..train.machine import Machine, check_loggers
from .features import Features, features_of
from .full import fine_tune, lacks_aux_head, trainable
from .head import Head, Labelled, train_head
from .options import FinetuneOptions
from .outcome import Mistake, Outcome
from .output import SPLITS, make_folder, write_folder, write_model
from .splits import PARTS, Split, kept_split

_UNMEASURED = "unmeasured.safetensors"
"""What the model is called until it has been measured, so that nothing takes it for finished."""
_MISTAKES = 24
_ROUNDING = 1e-6
"""What equal shares may differ by: torch counts in float32."""
Floats = NDArray[np.float32]


class Listener:
    """Hears what happens; a command line shows it. Every method may be left as it is."""

    def note(self, text: str) -> None:
        """Take a sentence about a choice that was made."""

    def extracting(self, total: int) -> Callable[[int], None]:
        """Take the number of pictures to extract, and return what to call with the number of new ones."""
        return lambda rows: None


@dataclass
class _Run:
    """A fine-tuning in progress."""

    module: Module
    data: LabelledImages
    split: Split
    features: Features
    folder: Path
    preset: str
    """The preprocessing, which the model then asks for."""
    engine: dict[str, Any]
    """`Module`'s options of the engine."""
    check: Callable[[], None]
    """Raises to end the run."""
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def training(self) -> Path:
        """Where training the whole network has what it can go on from."""
        return self.folder / "training"

    def indices(self, part: str) -> NDArray[np.int64]:
        """Return the readable pictures of a part."""
        return np.flatnonzero((self.split.parts == part) & self.features.readable)

    def labelled(self, part: str) -> Labelled:
        """Return the features and labels of a part."""
        chosen = self.indices(part)
        return Labelled(self.features.vectors[chosen], self.data.labels[chosen])

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage takes."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start


def finetune(
    model: ModelName,
    data: LabelledImages,
    folder: Path,
    options: FinetuneOptions,
    *,
    weights: WeightsName | None = None,
    extract: ExtractOptions = DEFAULTS,
    engine: dict[str, Any] | None = None,
    machine: Machine = ANY_MACHINE,
    listener: Listener | None = None,
    check: Callable[[], None] = lambda: None,
    source: str = "",
    command: str = "",
) -> Outcome:
    """Make a classifier of one's own classes from a model, and write it to `folder`.

    The features of all pictures are extracted once; a linear classifier is trained on them; with `options.full`, the
    whole network is trained from there. The folder then holds `model.safetensors`, which is a model like any other,
    `README.md`, `metrics.json`, `report.html`, `splits.parquet`, `features.parquet`; the model is written last.

    Args:
        model: what to start from, as `Module` takes it.
        data: the pictures and their classes.
        folder: where to; what an interrupted run left there is gone on with.
        options: what may be chosen.
        weights: other weights than the published ones.
        extract: preprocessing, batch size, decoders.
        engine: `Module`'s options of the engine.
        machine: what training the whole network runs on.
        listener: hears notes and progress.
        check: called between the steps of all that takes long; what it raises ends the run. What is written at the end
            is not cut in two.
        source: what the user called the pictures.
        command: what to run for the same again.

    Raises:
        InputError: a class with too few pictures, or none that can be read. OutputError: the folder cannot be written.
        MissingExtraError: a package of the training extra is not installed.
    """
    listener = listener or Listener()
    if options.full:
        check_loggers(machine)
    run = _prepare(model, weights, data, folder, options, extract, engine or {}, listener, check)
    with run.timed("classifier"):
        training, validation = run.labelled("training"), run.labelled("validation")
        head = train_head(training, validation, len(data.classes), balanced=options.balanced, check=check)
    _note(run, listener, _classifier_note(run.module, len(data.classes)))
    part = "test" if len(run.indices("test")) else "validation"
    _note(run, listener, _unmeasured_note(run, part))
    tally = _tally(head.logits(run.labelled(part).features), run, part)
    result = _Result(head.variables(), tally, tally.top(1).value or 0.0)
    if options.full:
        with run.timed("network"):
            result = _tune(run, result, head, (model, weights), options, machine, listener)
        if result.rank > 0:
            return _outcome(run, head, result, part, options, source, command)
        if result.tuned:
            result.tally = _tally(_logits(run, result.variables, extract, part), run, part)
    outcome = _outcome(run, head, result, part, options, source, command)
    write_folder(folder, outcome, run.module.model, result.variables)
    if options.full:
        shutil.rmtree(run.training, ignore_errors=True)  # it is only good for going on
    return outcome


def _prepare(
    model: ModelName,
    weights: WeightsName | None,
    data: LabelledImages,
    folder: Path,
    options: FinetuneOptions,
    extract: ExtractOptions,
    engine: dict[str, Any],
    listener: Listener,
    check: Callable[[], None],
) -> _Run:
    """Split the pictures and extract their features, or take what the folder has of both."""
    check_packages()
    if len(data.classes) < 2:
        raise InputError(f"a classifier tells at least two classes apart; the data has {len(data.classes)}")
    make_folder(folder)
    split = kept_split(folder / SPLITS, data, options.fractions, options.seed)
    if kept := split.note(options.fractions, options.seed):
        listener.note(kept)
    module = Module(model, weights, **engine)
    started = time.perf_counter()
    advance = listener.extracting(len(data))

    def progress(rows: int) -> None:
        advance(rows)
        check()

    features = features_of(module, data, folder / "features.parquet", extract, progress)
    if features.extracted < len(data):
        listener.note(f"the features of {len(data) - features.extracted:,} of {len(data):,} pictures were there")
    features.check_classes(data)
    seconds = {"features": time.perf_counter() - started}
    preset = extract.preset or module.preset
    run = _Run(module, data, split, features, folder, preset, engine, check, [kept] if kept else [], seconds)
    _check_parts(run)
    return run


def _check_parts(run: _Run) -> None:
    """Raise `InputError` where a class has no readable picture left to train on."""
    training = run.data.take(run.indices("training")).counts()
    for name, count in zip(run.data.classes, training, strict=True):
        if not count:
            raise InputError(f"class {name!r} has no readable picture to train on: add some")
    if not len(run.indices("validation")):
        raise InputError("no validation picture can be read: mend or add pictures")


def _note(run: _Run, listener: Listener, text: str | None) -> None:
    if text:
        run.notes.append(text)
        listener.note(text)


def _classifier_note(module: Module, classes: int) -> str | None:
    old = module.model.spec.num_classes
    if old is None:
        return f"the weights have no classifier; one for {classes} classes was added"
    return f"the classifier for {old:,} classes was replaced by one for {classes:,}"


def _unmeasured_note(run: _Run, part: str) -> str | None:
    counts = run.data.take(run.indices(part)).counts()
    names = [name for name, count in zip(run.data.classes, counts, strict=True) if not count]
    if not names:
        return None
    if len(names) == 1:
        return f"class {names[0]!r} has no {part} picture: how well it does is not measured"
    return f"{len(names):,} classes, such as {names[0]!r}, have no {part} picture: how well these do is not measured"


@dataclass
class _Result:
    """A classifier or a whole network, and how it does."""

    variables: dict[str, Floats]
    """What replaces the base model's variables, or is new."""
    tally: Tally
    head_top1: float
    tuned: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    rank: int = 0


def _tune(
    run: _Run,
    result: _Result,
    head: Head,
    start: tuple[ModelName, WeightsName | None],
    options: FinetuneOptions,
    machine: Machine,
    listener: Listener,
) -> _Result:
    """Train the whole network from `result` on; return it as it was where the classifier alone validates better."""
    module = trainable(*start, len(run.data.classes), options.seed)
    if lacks_aux_head(module):
        _note(run, listener, "the weights have no auxiliary head for these classes; a new one is trained along")
    training, validation = (run.data.take(run.indices(part)) for part in ("training", "validation"))
    tuned = fine_tune(
        module, result.variables, training, validation, run.training, options, machine, run.preset, run.check
    )
    if tuned.rank > 0:
        return replace(result, rank=tuned.rank)
    if text := _worse(run, head, tuned.history, balanced=options.balanced):
        _note(run, listener, f"{text}: the classifier alone was kept")
        return replace(result, history=tuned.history)
    return replace(result, variables=tuned.variables, tuned=True, history=tuned.history)


def _worse(run: _Run, head: Head, history: list[dict[str, float]], *, balanced: bool) -> str | None:
    """Return what the whole network came to, if it validates worse than the classifier alone."""
    best = min(history, key=lambda epoch: epoch.get("validation_loss", np.inf))
    if balanced:
        whole = best["validation_recall"]
        tally = _tally(head.logits(run.labelled("validation").features), run, "validation")
        alone = tally.balanced_accuracy() or 0.0
        came = f"a mean recall of {whole:.2%} on the validation pictures"
    else:
        whole, alone = best["validation_top1"], head.chosen.validation_top1
        came = f"{whole:.2%} of the validation pictures"
    if whole > alone - _ROUNDING:
        return None
    return f"training the whole network came to {came}, the classifier alone to {alone:.2%}"


# Measuring.


def _tally(logits: Floats, run: _Run, part: str) -> Tally:
    tally = Tally(len(run.data.classes), keep=True)
    tally.add(logits, run.data.labels[run.indices(part)])
    return tally


def _logits(run: _Run, variables: dict[str, Floats], extract: ExtractOptions, part: str) -> Floats:
    """Return the logits of the trained network, from a file like the one that is handed over in the end."""
    path = run.training / _UNMEASURED
    vectors = []
    try:
        write_model(path, run.module.model, variables, run.data.classes, run.preset)
        module, data = Module(path, **run.engine), run.data.take(run.indices(part))
        with closing(extract_labelled(module, data, "Logits", extract)) as batches:
            for batch in batches:
                vectors += [batch.vectors] if len(batch.vectors) else []
                run.check()
    finally:
        path.unlink(missing_ok=True)
    return np.concatenate(vectors)


def _mistakes(run: _Run, tally: Tally, part: str) -> list[Mistake]:
    judged, indices = tally.judged(), run.indices(part)
    return [
        Mistake(
            str(run.data.names[indices[i]]),
            run.data.read(int(indices[i])),
            int(judged.true[i]),
            int(judged.predicted[i]),
            float(judged.probability[i]),
        )
        for i in confident_mistakes(judged, _MISTAKES)
    ]


# Telling.


def _outcome(
    run: _Run, head: Head, result: _Result, part: str, options: FinetuneOptions, source: str, command: str
) -> Outcome:
    module = run.module
    return Outcome(
        base=module.model.name,
        base_weights=module.model.origin,
        source=source,
        command=command,
        classes=run.data.classes,
        counts={part: run.data.take(run.indices(part)).counts() for part in PARTS},
        image_size=module.image_size,
        preset=run.preset,
        head=head,
        test=result.tally,
        test_part=part,
        head_top1=result.head_top1,
        tuned=result.tuned,
        history=result.history,
        mistakes=_mistakes(run, result.tally, part),
        skipped=run.features.errors,
        notes=run.notes,
        settings=_settings(run.split, options),
        seconds=run.seconds,
        rank=result.rank,
    )


def _settings(split: Split, options: FinetuneOptions) -> dict[str, str]:
    """Return the options, by name; of the split, what it was really made with."""
    stated = {**asdict(options), **asdict(split.fractions), "split_seed": split.seed}
    return {name: str(value) for name, value in stated.items() if name != "fractions"}
