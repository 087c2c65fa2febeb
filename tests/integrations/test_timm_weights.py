"""`pnasnet convert --to timm`: names, layouts and classes of timm's own models."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.integrations.timm_weights import write_timm
from pnasnet.weights.timm import slim_names, timm_names

from tests.helpers import golden_weights as golden
from tests.helpers.cli_runs import error_of, run


def state_dict(name: str) -> dict[str, tuple[int, ...]]:
    stored = golden.load("timm_state_dicts")
    shapes = [tuple(json.loads(shape)) for shape in stored[f"{name}_shapes"].tolist()]
    return dict(zip(stored[name].tolist(), shapes, strict=True))


@pytest.mark.parametrize("name", ["pnasnet5large", "nasnetalarge"])
def test_names_are_the_inverse_of_the_readers(name: str) -> None:
    read = slim_names(state_dict(name))
    assert timm_names(read, nasnet=name == "nasnetalarge") == {theirs: slim for slim, theirs in read.items()}


@pytest.mark.slow
def test_a_written_file_has_timms_names_and_shapes_and_reads_back(tmp_path: Path) -> None:
    drawn = {
        name: np.abs(golden.draw(name, shape))
        for name, shape in resolve(find("pnasnet_large").spec).variables().items()
    }
    module = Module("pnasnet_large", drawn)
    written = write_timm(module, tmp_path / "timm.safetensors")
    assert (written.model, written.classes) == ("pnasnet5large", 1000)
    found = load_file(tmp_path / "timm.safetensors")
    expected = {n: s for n, s in state_dict("pnasnet5large").items() if not n.endswith("num_batches_tracked")}
    assert {name: array.shape for name, array in found.items()} == expected
    again = Module("pnasnet_large", tmp_path / "timm.safetensors").variables
    for name, value in drawn.items():
        kept = value[..., 1:] if name.startswith("final_layer/") else value
        np.testing.assert_array_equal(again[name], kept, err_msg=name)


def test_networks_that_timm_lacks_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "timm.safetensors"
    message = error_of(run("convert", "pnasnet_tiny", out, "--to", "timm"))
    assert "timm has no network like pnasnet_tiny: only pnasnet_large and nasnet_large" in message
    assert not out.exists()
    refused = run("convert", "pnasnet_tiny", out, "--to", "timm", "--float16")
    assert "--float16 is for --to pnasnet" in refused.output
