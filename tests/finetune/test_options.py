"""Options of a fine-tuning of another type or out of range."""

import subprocess
import sys

import pytest

from pnasnet.errors import InputError
from pnasnet.finetune import FinetuneOptions


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", 2.0, "seed must be a whole number, not 2.0"),
        ("patience", True, "patience must be a whole number, not True"),
        ("test", "0.1", "test must be a number, not '0.1'"),
        ("balanced", 2, "balanced must be true or false, not 2"),
        ("learning_rate", None, "learning_rate must be a number, not None"),
    ],
)
def test_options_of_another_type(name: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FinetuneOptions(**{name: value})  # type: ignore[arg-type]


def test_options_are_checked_without_assertions() -> None:
    program = "from pnasnet.finetune import FinetuneOptions; FinetuneOptions(validation=2.0)"
    run = subprocess.run(
        [sys.executable, "-O", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stderr.endswith("InputError: validation must be a fraction between 0 and 1, not 2.0\n")
