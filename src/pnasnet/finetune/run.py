"""Transfer learning from pictures to a model's folder: split, features, classifier, network, report."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import replacing
from ..charts import check_packages
from ..datasets import LabelledImages
from ..errors import InputError, OutputError
from ..evaluation import Tally, confident_mistakes
from ..extract import ExtractOptions, extract_labelled
from ..extract.options import DEFAULTS
from ..model import Model, ModelName, WeightsName, metadata
from ..module import Module
from ..plan import resolve
from ..train.machine import DEFAULTS as ANY_MACHINE
from ..train.machine import Machine
from ..weights import write_weights
from .card import metrics, write_card
from .features import Features, features_of
from .full import fine_tune
from .head import Head, Labelled, train_head
from .options import FinetuneOptions
from .outcome import Mistake, Outcome
from .report import write_report
from .splits import PARTS, kept_split

MODEL = "model.safetensors"
"""The file that makes the folder a model; written last."""

_MISTAKES = 24
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
    parts: NDArray[np.str_]
    features: Features
    folder: Path
    preset: str
    """The preprocessing, which the model then asks for."""
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def indices(self, part: str) -> NDArray[np.int64]:
        """Return the readable pictures of a part."""
        return np.flatnonzero((self.parts == part) & self.features.readable)

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
        source: what the user called the pictures.
        command: what to run for the same again.

    Raises:
        InputError: a class with too few pictures, or none that can be read. OutputError: the folder cannot be written.
        MissingExtraError: a package of the training extra is not installed.
    """
    listener = listener or Listener()
    run = _prepare(model, weights, data, folder, options, extract, engine or {}, listener)
    with run.timed("classifier"):
        head = train_head(
            run.labelled("training"), run.labelled("validation"), len(data.classes), balanced=options.balanced
        )
    _note(run, listener, _classifier_note(run.module, len(data.classes)))
    part = "test" if len(run.indices("test")) else "validation"
    tally = _tally(head.logits(run.labelled(part).features), run, part)
    result = _Result(head.variables(), tally, tally.top(1).value or 0.0)
    if options.full:
        with run.timed("network"):
            result = _tune(run, result, head, (model, weights), options, machine, listener)
        if result.tuned:
            result.tally = _tally(_logits(run, result.variables, extract, part), run, part)
    outcome = _outcome(run, head, result, part, options, source, command)
    _write(run, result.variables, outcome)
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
) -> _Run:
    """Split the pictures and extract their features, or take what the folder has of both."""
    check_packages()
    _make_folder(folder)
    if len(data.classes) < 2:
        raise InputError(f"a classifier tells at least two classes apart; the data has {len(data.classes)}")
    parts = kept_split(folder / "splits.parquet", data, options.fractions, options.seed)
    module = Module(model, weights, **engine)
    started = time.perf_counter()
    features = features_of(module, data, folder / "features.parquet", extract, listener.extracting(len(data)))
    features.check_classes(data)
    seconds = {"features": time.perf_counter() - started}
    run = _Run(module, data, parts, features, folder, extract.preset or module.preset, seconds=seconds)
    _check_parts(run)
    return run


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error


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


@dataclass
class _Result:
    """A classifier or a whole network, and how it does."""

    variables: dict[str, Floats]
    """What replaces the base model's variables, or is new."""
    tally: Tally
    head_top1: float
    tuned: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


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
    aux = run.module.model.plan.aux
    if aux and not any(name.startswith(aux.scope) for name in run.module.model.arrays()):
        _note(run, listener, "the auxiliary head is not in the weights; a new one is trained along")
    training, validation = (run.data.take(run.indices(part)) for part in ("training", "validation"))
    tuned, history = fine_tune(
        *start, result.variables, training, validation, run.folder / "training", options, machine, run.preset
    )
    best = min(history, key=lambda epoch: epoch.get("validation_loss", np.inf))
    if best["validation_top1"] < head.chosen.validation_top1:
        note = (
            f"training the whole network came to {best['validation_top1']:.2%} of the validation pictures, the "
            f"classifier alone to {head.chosen.validation_top1:.2%}: the classifier alone was kept"
        )
        _note(run, listener, note)
        return replace(result, history=history)
    return replace(result, variables=tuned, tuned=True, history=history)


# Measuring.


def _tally(logits: Floats, run: _Run, part: str) -> Tally:
    tally = Tally(len(run.data.classes), keep=True)
    tally.add(logits, run.data.labels[run.indices(part)])
    return tally


def _logits(run: _Run, variables: dict[str, Floats], extract: ExtractOptions, part: str) -> Floats:
    """Return the logits of the trained network, from the very file that is handed over in the end."""
    path = run.folder / "training" / MODEL
    _write_model(run, variables, path)
    batches = extract_labelled(Module(path), run.data.take(run.indices(part)), "Logits", extract)
    return np.concatenate([batch.vectors for batch in batches if len(batch.vectors)])


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


# Writing.


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
        settings={name: str(value) for name, value in asdict(options).items() if name != "fractions"},
        seconds=run.seconds,
    )


def _write(run: _Run, variables: dict[str, Floats], outcome: Outcome) -> None:
    """Write the folder's files, the model last."""
    folder = run.folder
    try:
        with replacing(folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(metrics(outcome), indent=1, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder / 'metrics.json'}: {error.strerror or error}") from error
    write_card(folder / "README.md", outcome)
    write_report(folder / "report.html", outcome)
    _write_model(run, variables, folder / MODEL)


def _write_model(run: _Run, variables: dict[str, Floats], path: Path) -> None:
    """Write the base model's variables with those in `variables` in their place."""
    base, classes = run.module.model, run.data.classes
    plan = resolve(replace(base.spec, num_classes=len(classes)))
    kept = {name: base.arrays()[name] for name in plan.variables() if name not in variables}
    model = Model(base.name, plan, None, (), f"{base.origin}, fine-tuned", classes, run.preset)
    write_weights(path, {**kept, **variables}, **metadata(model))
