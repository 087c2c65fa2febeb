"""The networks by name, and what is imported for them."""

import subprocess
import sys
from pathlib import Path

import pytest

from pnasnet import list_models
from pnasnet.architecture.zoo import NETWORKS
from pnasnet.errors import WeightsNotFoundError
from pnasnet.module import open as opening
from pnasnet.module.catalogue import describe, find_network

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def test_a_network_is_found_by_its_name_its_handle_and_its_weights() -> None:
    handle = "https://tfhub.dev/google/imagenet/nasnet_mobile/classification/5"
    assert find_network("pnasnet_tiny") == NETWORKS["pnasnet_tiny"]
    assert find_network(handle).name == "nasnet_mobile"
    found = find_network(str(CHECKPOINTS / "tiny_slim"))
    assert (found.spec.num_cells, found.spec.num_classes, found.weights) == (3, 5, ())


def test_finding_a_network_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment allows: its weights would be needed only to run it."""
    monkeypatch.setenv("PNASNET_OFFLINE", "0")
    asked: list[object] = []

    def opened(name: str, *, offline: bool | None = None) -> None:
        asked.append(offline)
        raise WeightsNotFoundError(name)

    monkeypatch.setattr(opening, "open_model", opened)
    with pytest.raises(WeightsNotFoundError):
        find_network(str(tmp_path))
    assert asked == [True]


def test_models_are_networks_with_weights_and_have_figures() -> None:
    assert list_models() == [name for name, network in NETWORKS.items() if network.weights]
    figures = describe(NETWORKS["pnasnet_large"])
    assert figures["image_size"] == [331, 331]
    assert figures["features"] == 4320
    assert {record["weights"] for record in figures["weights"]} == {
        weights.id for weights in NETWORKS["pnasnet_large"].weights
    }


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import pnasnet; pnasnet.list_models()", {"pnasnet.module.module", "PIL", "torch", "openvino"}),
        ("import pnasnet.module", {"pnasnet.module.module", "numpy", "PIL", "torch", "openvino"}),
        ("import pnasnet; pnasnet.Module", {"torch", "openvino", "onnx"}),
    ],
)
def test_names_are_loaded_when_they_are_used(code: str, absent: set[str]) -> None:
    program = f"{code}; import sys; print(sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
