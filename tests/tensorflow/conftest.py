"""Exports for tests with TensorFlow, which the other tests do without: see scripts/test-tensorflow."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXPORTS = Path(os.environ.get("PNASNET_EXPORTS", ""))
"""A folder for each model: the SavedModel `model`, and `expected.npz` with images and every endpoint."""


_TESTS = ["test_saved_model.py", "test_from_tf_hub.py", "test_hub_module.py"]
collect_ignore = [] if "PNASNET_EXPORTS" in os.environ else _TESTS


@pytest.fixture(params=sorted(path.name for path in EXPORTS.iterdir()) if "PNASNET_EXPORTS" in os.environ else [])
def export(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Return the path of a SavedModel, and its images and expected endpoints."""
    folder = EXPORTS / request.param
    with np.load(folder / "expected.npz") as expected:
        values = dict(expected)
    values["signatures"] = json.loads((folder / "signatures.json").read_text())
    return str(folder / "model"), values
