"""Each adapter's missing library is one line that says what to install."""

import importlib
import sys

import pytest

from pnasnet.errors import MissingExtraError

ADAPTERS = {
    "integrations.image_network": ("torch", r"a network for timm or torch.hub needs torch, .*\[torch\]'"),
    "keras": ("keras", r"pnasnet.keras needs keras, .*: pip install 'pnasnet\[keras\]'"),
    "sklearn": ("sklearn", r"pnasnet.sklearn needs scikit-learn, .*: pip install 'pnasnet\[sklearn\]'"),
    "timm": ("timm", r"pnasnet.timm needs timm, which is not installed: pip install 'pnasnet\[timm\]'"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_library_is_named(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library, message = ADAPTERS[adapter]
    for name in (f"pnasnet.{adapter}", f"pnasnet.integrations.{adapter}"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [library, *(name for name in sys.modules if name.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=f"^{message}$"):
        importlib.import_module(f"pnasnet.{adapter}")
