"""How often a classifier is right: on any labelled pictures, ImageNet's validation images among them.

LabelledImages ─ match_classes ─► logit of each class ─ evaluate ─► Tally ─► Evaluation
"""

from .evaluate import evaluate
from .match import ClassMatch, match_classes
from .metrics import Judged, Rate, Tally, confident_mistakes, wilson
from .result import ClassFigures, Confusion, Evaluation, Mistake

__all__ = [
    "ClassFigures",
    "ClassMatch",
    "Confusion",
    "Evaluation",
    "Judged",
    "Mistake",
    "Rate",
    "Tally",
    "confident_mistakes",
    "evaluate",
    "match_classes",
    "wilson",
]
