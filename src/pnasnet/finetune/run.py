"""Transfer learning from pictures to a model's folder: split, features, classifier, network, report."""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..engines import EngineOptions
from ..errors import InputError
from ..evaluation import Tally
from ..extract import ExtractOptions, extract_labelled
from ..extract.options import DEFAULTS
from ..images import get_preset
from ..module.module import Module
from ..module.open import ModelName, WeightsName
from ..reports.charts import check_packages
from ..training.fit import started_by_others
from ..training.machine import DEFAULTS as ANY_MACHINE
from ..training.machine import Machine, check_loggers
from .features import features_of
from .full import fine_tune, lacks_aux_head, trainable
from .head import Head, train_head
from .options import FinetuneOptions
from .outcome import Outcome
from .output import SPLITS, make_folder, write_folder, write_model
from .progress import Listener, Run
from .splits import PARTS, Split, kept_split

_UNMEASURED = "unmeasured.safetensors"
"""What the model is called until it has been measured, so that nothing takes it for finished."""
_ROUNDING = 1e-6
"""What equal shares may differ by: torch counts in float32."""
Floats = NDArray[np.float32]


def finetune(
    model: ModelName,
    data: LabelledImages,
    folder: Path,
    options: FinetuneOptions,
    *,
    weights: WeightsName | None = None,
    extract: ExtractOptions = DEFAULTS,
    engine: EngineOptions | None = None,
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
        engine: how the engine runs that extracts features.
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
    _check_machine(machine, options)
    run = _prepare(model, weights, data, folder, options, extract, engine or EngineOptions(), listener, check)
    with run.timed("classifier"):
        training, validation = run.labelled("training"), run.labelled("validation")
        head = train_head(training, validation, len(data.classes), balanced=options.balanced, check=check)
    run.note(_classifier_note(run.module, len(data.classes)))
    part = "test" if len(run.indices("test")) else "validation"
    run.note(run.unmeasured(part))
    tally = run.tally(head.logits(run.labelled(part).features), part)
    result = _Result(head.variables(), tally, tally.top(1).value or 0.0)
    if options.full:
        with run.timed("network"):
            result = _tune(run, result, head, (model, weights), options, machine)
        if result.rank > 0:
            return _outcome(run, head, result, part, options, source, command)
        if result.tuned:
            result.tally = run.tally(_logits(run, result.variables, part), part)
    outcome = _outcome(run, head, result, part, options, source, command)
    write_folder(folder, outcome, run.module.model, result.variables)
    if options.full:
        shutil.rmtree(run.training, ignore_errors=True)  # it is only good for going on
    return outcome


def _check_machine(machine: Machine, options: FinetuneOptions) -> None:
    """Raise for what cannot be: the first process alone must have made split and features before others begin."""
    if not options.full:
        return
    if machine.nodes > 1 or started_by_others():
        raise InputError(
            "fine-tuning runs on one machine, and starts a process for each of its devices: leave out --nodes, "
            "and start it once, without torchrun or srun"
        )
    check_loggers(machine)


def _prepare(
    model: ModelName,
    weights: WeightsName | None,
    data: LabelledImages,
    folder: Path,
    options: FinetuneOptions,
    extract: ExtractOptions,
    engine: EngineOptions,
    listener: Listener,
    check: Callable[[], None],
) -> Run:
    """Split the pictures and extract their features, or take what the folder has of both."""
    check_packages()
    if len(data.classes) < 2:
        raise InputError(f"a classifier tells at least two classes apart; the data has {len(data.classes)}")
    make_folder(folder)
    split = kept_split(folder / SPLITS, data, options.fractions, options.seed)
    if kept := split.note(options.fractions, options.seed):
        listener.note(kept)
    module = Module(model, weights, engine=engine)
    preset = _preset(module, extract)
    extract = replace(extract, preset=preset, exif=None)
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
    run = Run(module, data, split, features, folder, preset, extract, engine, listener, check, seconds)
    run.notes += [kept] if kept else []
    run.check_parts()
    return run


def _preset(module: Module, extract: ExtractOptions) -> str:
    """Return the name of the preprocessing, which the model is to ask for: the EXIF orientation is part of it."""
    preset = get_preset(extract.preset or module.preset)
    return (preset if extract.exif is None else preset.turned(extract.exif)).name


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
    rank: int = 0


def _tune(
    run: Run,
    result: _Result,
    head: Head,
    start: tuple[ModelName, WeightsName | None],
    options: FinetuneOptions,
    machine: Machine,
) -> _Result:
    """Train the whole network from `result` on; return it as it was where the classifier alone validates better."""
    module = trainable(*start, len(run.data.classes), options.seed)
    if lacks_aux_head(module):
        run.note("the weights have no auxiliary head for these classes; a new one is trained along")
    training, validation = (run.pictures(part) for part in ("training", "validation"))
    tuned = fine_tune(
        module, result.variables, training, validation, run.training, options, machine, run.preset, run.check
    )
    if tuned.rank > 0:
        return replace(result, rank=tuned.rank)
    if text := _worse(run, head, tuned.history, balanced=options.balanced):
        run.note(f"{text}: the classifier alone was kept")
        return replace(result, history=tuned.history)
    return replace(result, variables=tuned.variables, tuned=True, history=tuned.history)


def _worse(run: Run, head: Head, history: list[dict[str, float]], *, balanced: bool) -> str | None:
    """Return what the whole network came to, if it validates worse than the classifier alone."""
    best = min(history, key=lambda epoch: epoch.get("validation_loss", np.inf))
    if balanced:
        whole = best["validation_recall"]
        tally = run.tally(head.logits(run.labelled("validation").features), "validation")
        alone = tally.balanced_accuracy() or 0.0
        came = f"a mean recall of {whole:.2%} on the validation pictures"
    else:
        whole, alone = best["validation_top1"], head.chosen.validation_top1
        came = f"{whole:.2%} of the validation pictures"
    if whole > alone - _ROUNDING:
        return None
    return f"training the whole network came to {came}, the classifier alone to {alone:.2%}"


def _logits(run: Run, variables: dict[str, Floats], part: str) -> Floats:
    """Return the logits of the trained network, from a file like the one that is handed over in the end."""
    path = run.training / _UNMEASURED
    vectors = []
    try:
        write_model(path, run.module.model, variables, run.data.classes, run.preset)
        module, data = Module(path, engine=run.engine), run.pictures(part)
        with closing(extract_labelled(module, data, "Logits", run.extract)) as batches:
            for batch in batches:
                vectors += [batch.vectors] if len(batch.vectors) else []
                run.check()
    finally:
        path.unlink(missing_ok=True)
    return np.concatenate(vectors)


def _outcome(
    run: Run, head: Head, result: _Result, part: str, options: FinetuneOptions, source: str, command: str
) -> Outcome:
    module = run.module
    return Outcome(
        base=module.model.name,
        base_weights=module.model.origin,
        source=source,
        command=command,
        classes=run.data.classes,
        counts={part: run.pictures(part).counts() for part in PARTS},
        image_size=module.image_size,
        preset=run.preset,
        head=head,
        test=result.tally,
        test_part=part,
        head_top1=result.head_top1,
        tuned=result.tuned,
        history=result.history,
        mistakes=run.mistakes(result.tally, part),
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
