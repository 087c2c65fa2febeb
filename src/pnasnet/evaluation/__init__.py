"""Evaluates classifiers on labelled images, such as ImageNet's validation set.

LabelledImages ─ match_classes ─► logit of each class ─ evaluate ─► Tally ─► Evaluation
"""

from .calibration import Calibration
from .evaluate import evaluate, evaluate_logits
from .match import ClassMatch, match_classes
from .metrics import Rate, Tally, wilson
from .result import ClassFigures, Confusion, Evaluation, Mistake

__all__ = [
    "Calibration",
    "ClassFigures",
    "ClassMatch",
    "Confusion",
    "Evaluation",
    "Mistake",
    "Rate",
    "Tally",
    "evaluate",
    "evaluate_logits",
    "match_classes",
    "wilson",
]
