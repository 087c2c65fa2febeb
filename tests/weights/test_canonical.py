"""Names of every origin, wrappers around them, and the choice between variables and their moving averages."""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import InputError, WeightsError
from pnasnet.lowering.torch_network import Network
from pnasnet.weights import open_weights

from tests.helpers.weights_files import write_checkpoint

NETWORKS = {
    "pnasnet": NetworkSpec(PNASNET5, 3, 8, (64, 64), 5),
    "nasnet": NetworkSpec(NASNET_A_NORMAL, 3, 8, (32, 32), 5, NASNET_A_REDUCTION, stem="cifar"),
}
EMA = "/ExponentialMovingAverage"


def network(name: str = "pnasnet") -> Network:
    torch.manual_seed(1)
    return Network(resolve(NETWORKS[name]), aux_head=True)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("how", ["pth", "safetensors", "mapping"])
def test_a_torch_networks_own_state_dict_becomes_the_variables(name: str, how: str, tmp_path: Path) -> None:
    own = network(name)
    state = {key: value.contiguous() for key, value in own.state_dict().items()}
    source: Any = state
    if how == "pth":
        torch.save(state, source := tmp_path / "own.pth")
    elif how == "safetensors":
        save_file(state, source := tmp_path / "own.safetensors")
    opened, expected = open_weights(source), own.to_variables()
    assert set(opened.arrays) == set(expected)
    for variable, value in expected.items():
        np.testing.assert_array_equal(opened.arrays[variable], value, err_msg=variable)


@pytest.mark.parametrize("prefix", ["module.", "model._orig_mod.", "network.", "a.b.c."])
@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
def test_wrapped_and_prefixed_state_dicts_are_the_same_weights(prefix: str, key: str | None, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": value for name, value in network().state_dict().items()}
    saved: dict[str, Any] = {key: state, "epoch": 3, "optimizer": {"state": {}}} if key else state
    torch.save(saved, tmp_path / "m.pth")
    assert open_weights(tmp_path / "m.pth").checksum() == open_weights(network().to_variables()).checksum()


def test_timms_training_checkpoint_prefers_its_averages_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = {"last_linear.weight": torch.zeros(3, 2), "last_linear.bias": torch.zeros(3)}
    averages = {f"module.{name}": value + 1 for name, value in plain.items()}
    saved = {"epoch": 3, "arch": "pnasnet5large", "args": argparse.Namespace(lr=0.1), "state_dict": plain}
    torch.save({**saved, "state_dict_ema": averages}, tmp_path / "m.pth")
    torch.save(saved, tmp_path / "plain.pth")
    with caplog.at_level(logging.INFO, "pnasnet"):
        assert open_weights(tmp_path / "m.pth").arrays["final_layer/FC/biases"].tolist() == [1, 1, 1]
    assert "'state_dict_ema' is used, of 'state_dict' and 'state_dict_ema'" in caplog.text
    chosen = open_weights(tmp_path / "m.pth", moving_averages=False)
    assert chosen.arrays["final_layer/FC/biases"].tolist() == [0, 0, 0]
    assert open_weights(tmp_path / "plain.pth").arrays["final_layer/FC/biases"].tolist() == [0, 0, 0]
    with pytest.raises(WeightsError, match="holds no moving averages"):
        open_weights(tmp_path / "plain.pth", moving_averages=True)


def test_a_mapping_may_hold_tensors_of_any_kind() -> None:
    values = {"a": torch.ones(2, requires_grad=True), "b": torch.full((2,), 0.5).bfloat16(), "c": [1, 2]}
    arrays = open_weights(values).arrays
    assert [arrays[name].tolist() for name in "abc"] == [[1, 1], [0.5, 0.5], [1, 2]]
    assert arrays["b"].dtype == np.float32
    with pytest.raises(InputError, match="not an array of numbers"):
        open_weights({"a": "text"})


def test_dense_layers_are_known_by_either_of_their_names(tmp_path: Path) -> None:
    names = ("aux_11/aux_logits/fully_connected/weights", "final_layer/fully_connected/biases", "x/fully_connected/y")
    opened = open_weights({name: np.ones(1) for name in names})
    assert set(opened.arrays) == {"aux_11/aux_logits/FC/weights", "final_layer/FC/biases", "x/fully_connected/y"}
    with pytest.raises(WeightsError, match=r"holds both final_layer/FC/biases and final_layer/fully_connected/biases"):
        open_weights({"final_layer/FC/biases": np.ones(1), "final_layer/fully_connected/biases": np.ones(1)})


def averaged(prefix: Path, *, plain: bool = True) -> Path:
    tensors: dict[str, Any] = {f"a{EMA}": np.full(2, 7, np.float32), "moving_mean": np.ones(2, np.float32)}
    return write_checkpoint(prefix, tensors | ({"a": np.zeros(2, np.float32)} if plain else {}))


@pytest.mark.parametrize(("wanted", "value"), [(None, 7), (True, 7), (False, 0)])
def test_moving_averages_are_preferred_but_may_be_declined(
    wanted: bool | None, value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pnasnet"):
        opened = open_weights(averaged(tmp_path / "m"), moving_averages=wanted)
    assert set(opened.arrays) == {"a", "moving_mean"}
    assert opened.arrays["a"].tolist() == [value, value]
    assert len(caplog.messages) == 1
    assert ("the moving averages of 1 variables are used" in caplog.text) == (wanted is not False)


def test_averages_alone_are_read(tmp_path: Path) -> None:
    prefix = averaged(tmp_path / "m", plain=False)
    assert open_weights(prefix).arrays["a"].tolist() == [7, 7]
    with pytest.raises(WeightsError, match="holds only the moving averages of 1 variables"):
        open_weights(prefix, moving_averages=False)
    with pytest.raises(WeightsError, match="the given mapping holds no moving averages"):
        open_weights({"a": np.ones(1)}, moving_averages=True)
