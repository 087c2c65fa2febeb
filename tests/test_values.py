"""Values are shared freely between threads and callers, because nobody can change them."""

import os
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest

import pnasnet
from pnasnet.errors import MissingExtraError

SOURCE = Path(pnasnet.__file__).parent
ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))

CHANGING = {
    "evaluation": {"_Counted"},
    "extract": {"Report", "Stages", "_Extraction", "_Work"},
    "finetune": {"_FineTuning"},
    "module": {"Model"},
    "search": {"_Layout"},
    "training": {"StoredTensors"},
    "weights": {"QuantizedWeights", "WeightsSource"},
}
"""The dataclasses that are no values: they count, or hold something open."""


def dataclasses_of(room: str) -> Iterator[type]:
    """Yield the dataclasses defined in a room, except in files whose extra is not installed."""
    for path in sorted((SOURCE / room).rglob("*.py")):
        name = ".".join(("pnasnet", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        try:
            module = import_module(name)
        except (MissingExtraError, ImportError):
            continue
        yield from (
            each
            for each in vars(module).values()
            if isinstance(each, type) and is_dataclass(each) and each.__module__ == name
        )


@pytest.mark.parametrize("room", ROOMS)
def test_values_cannot_be_changed(room: str) -> None:
    found = list(dataclasses_of(room))
    changing = {each.__name__ for each in found if not each.__dataclass_params__.frozen}  # type: ignore[attr-defined]
    assert changing == CHANGING.get(room, set())
