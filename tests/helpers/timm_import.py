"""Imports timm for the tests, which skip without it."""

from typing import Any

import pytest
import torch


def import_timm() -> Any:
    """Return timm, or skip the tests of the calling module.

    timm imports torchvision, whose compiled operators need the very torch that they were built for. Nothing here uses
    them, so their shape functions are not registered while it is imported.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.library, "register_fake", lambda *_, **__: lambda function: function)
        return pytest.importorskip("timm", reason="timm is not installed: run scripts/test-timm")
