"""Each adapter's missing library is one line that says what to install."""

import importlib
import sys

import pytest

from pnasnet.errors import MissingExtraError

ADAPTERS = {
    "integrations.image_network": ("torch", r"a network for timm or torch.hub needs torch, .*\[torch\]'"),
    "keras": ("keras", r"pnasnet.keras needs keras, .*: pip install 'pnasnet\[keras\]'"),
    "sklearn": ("sklearn", r"pnasnet.sklearn needs scikit-learn, .*: pip install 'pnasnet\[sklearn\]'"),
    "timm": (
        "timm",
        r"pnasnet.timm needs timm, which cannot be imported \(.*\): pip install timm, and .* for your torch",
    ),
}


class Missing:
    """An import hook by which a library is not installed."""

    def __init__(self, library: str, error: Exception | None = None) -> None:
        self._library, self._error = library, error

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._library:
            raise self._error or ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_library_is_named(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_named(adapter, None, monkeypatch)


def test_a_torchvision_for_another_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_named("timm", RuntimeError("operator torchvision::nms does not exist"), monkeypatch)


def assert_named(adapter: str, fault: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    library, message = ADAPTERS[adapter]
    loaded = [name for name in sys.modules if name == library or name.startswith(f"{library}.")]
    for name in (f"pnasnet.{adapter}", f"pnasnet.integrations.{adapter}", *loaded):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(library, fault), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=f"^{message}$"):
        importlib.import_module(f"pnasnet.{adapter}")
