"""Writes the model card of a fine-tuned model: Markdown with the metadata that the Hugging Face Hub reads."""

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ..support.files import write_text
from ..support.text import clean, counted, duration, percent
from .result import FinetuneResult, interval

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_NAMES, _ROWS = 100, 50
"""Maximum number of classes in a sentence, and of rows in the table."""


def write_card(path: Path, result: FinetuneResult) -> None:
    """Write the model card. Raises `OutputError`."""
    from huggingface_hub import ModelCard

    card = ModelCard.from_template(
        _metadata(result),
        template_str=files("pnasnet.reports").joinpath("templates", "model_card.md").read_text("utf-8"),
        result=result,
        evaluation=result.evaluation,
        names=result.classes[:_NAMES],
        rows=result.worst_first()[:_ROWS],
        best=result.best_epoch(),
        counts={part: int(counts.sum()) for part, counts in result.counts.items()},
        escaped=_escaped,
        fenced=_fenced,
        interval=interval,
        counted=counted,
        duration=duration,
        percent=percent,
    )
    write_text(path, re.sub(r"\n{3,}", "\n\n", card.content).rstrip() + "\n")


def _metadata(result: FinetuneResult) -> "ModelCardData":
    """Return the metadata, with the figures as the Hub's `model-index`.

    Without a licence: the base model's is known, but that of the images is not.
    """
    from huggingface_hub import EvalResult, ModelCardData

    on_hub = result.source.startswith("hf:")
    data_set = clean(result.source.removeprefix("hf:") if on_hub else Path(result.source).name or "images")
    figures = {
        "accuracy": ("Accuracy", result.evaluation.top1.value),
        "recall": ("Mean recall of the classes", result.evaluation.balanced_accuracy),
    }
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=data_set.partition(":")[0] if on_hub else "imagefolder",
            dataset_name=data_set,
            dataset_split=result.part,
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 6),
        )
        for kind, (name, value) in figures.items()
        if value is not None
    ]
    published = result.base_weights if result.base_weights.startswith("timm/") else result.base
    return ModelCardData(
        tags=["image-classification", "pnasnet"],
        pipeline_tag="image-classification",
        library_name="pnasnet",
        base_model=clean(published),
        model_name=f"{clean(result.base)} on {data_set}",
        eval_results=results or None,
    )


def _escaped(text: object) -> str:
    """Return text escaped for Markdown, also in tables."""
    escaped = re.sub(r"([\\`*\[\]|<>&~$])", r"\\\1", clean(str(text)))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)  # within a word it has no meaning


def _fenced(text: str, language: str) -> str:
    """Return a Markdown code block; its fence is longer than any run of backticks in the text."""
    text = clean(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
