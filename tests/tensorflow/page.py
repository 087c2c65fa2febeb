"""The lines of docs/from-tf-hub.md that TensorFlow runs, and TF-Hub's cache with modules for their handles."""

import ast
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from pnasnet import Module

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/from-tf-hub.md"
TINY = ROOT / "tests/checkpoints/tiny_slim"
HANDLE = "https://tfhub.dev/google/imagenet/pnasnet_large/feature_vector"


def sections() -> dict[str, list[str]]:
    """Return TF-Hub's blocks under each heading."""
    found = {}
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        found[title] = re.findall(r"^TF-Hub[^\n]*:\n\n```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    return {title: blocks for title, blocks in found.items() if blocks}


def cached(folder: Path, handle: str) -> Path:
    """Return the folder in which TF-Hub's cache keeps a module."""
    return folder / hashlib.sha1(handle.encode()).hexdigest()


def run(block: str, names: dict[str, Any], before: Any = None) -> None:
    """Run a block statement by statement; call `before` with each one first."""
    for statement in ast.parse(block).body:
        if before:
            before(ast.unparse(statement))
        exec(compile(ast.Module([statement], []), PAGE.name, "exec"), names)


def assert_equal(value: Any, expected: Any) -> None:
    """Fail unless the values are equal to 1e-4 of the largest."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(value), expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()))


def l2(module: Module) -> float:
    """Return the sum of the L2 terms."""
    squares = (float((value.astype(np.float64) ** 2).sum()) for name, value in module.variables.items()
               if name.endswith("weights"))  # fmt: skip
    return module.model.spec.weight_decay / 2 * sum(squares)
