"""`pnasnet models`, `convert` and `export`."""

import json
from pathlib import Path

import numpy as np
import pytest

import pnasnet
from pnasnet import Module
from pnasnet.architecture.zoo import NETWORKS, PUBLISHED, PublishedWeights
from pnasnet.errors import WeightsNotFoundError

from tests.helpers.cli_runs import HERE, PHOTOS, error_of, run, usage_error_of
from tests.helpers.weights_files import write_checkpoint

HUB = HERE / "checkpoints/tiny_hub_tf2"


def test_models_table_names_every_network_and_set() -> None:
    result = run("models")
    assert result.exit_code == 0, result.output
    networks, sets = (table.splitlines() for table in result.stdout.split("\n\n"))
    assert [line.split()[0] for line in networks] == ["model", *pnasnet.list_models()]
    assert set(NETWORKS) - set(pnasnet.list_models()) == {"pnasnet_cifar", "nasnet_cifar"}
    assert networks[1].split() == ["pnasnet_large", "12", "216", "331x331", "4320", "86.1M", "24.9B"]
    assert [line.split()[0] for line in sets[1:]] == [record.id for n in NETWORKS.values() for record in n.weights]
    assert {line.split()[-1] for line in sets[1:]} <= {"shipped", "cached", "downloadable"}


def test_models_json_has_exact_counts() -> None:
    described = {each["model"]: each for each in json.loads(run("models", "--json").stdout)}
    large = described["pnasnet_large"]
    assert (large["parameters"], large["features"], large["image_size"]) == (86_061_989, 4320, [331, 331])
    assert large["weights"][1]["weights"] == "timm/pnasnet5large.tf_in1k"
    assert "pnasnet_cifar" not in described
    assert json.loads(run("models", "--json", "pnasnet_cifar").stdout)[0]["weights"] == []


def test_models_lists_only_what_a_model_may_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name in either table resolves to its weights."""
    asked = []

    def fetch(record: PublishedWeights, *, offline: bool | None) -> Path:
        asked.append(record.id)
        raise WeightsNotFoundError("not on this machine")

    monkeypatch.setattr("pnasnet.module.open.fetch", fetch)
    tables = run("models").stdout.split("\n\n")
    names = [line.split()[0] for table in tables for line in table.splitlines()[1:]]
    for name in names:
        with pytest.raises(WeightsNotFoundError, match="not on this machine"):
            Module(name)
    assert asked == [PUBLISHED[name].id for name in names]


def test_models_of_weights_and_by_name() -> None:
    result = run("models", HERE / "checkpoints/tiny_hub_tf1", "google/imagenet/pnasnet_large/feature_vector/1")
    assert result.exit_code == 0, result.output
    _, tiny, large = (line.split() for line in result.stdout.splitlines())
    module = Module(str(HERE / "checkpoints/tiny_hub_tf1"))
    assert tiny[0] == str(HERE / "checkpoints/tiny_hub_tf1")
    assert large[0] == "google/imagenet/pnasnet_large/feature_vector/1"
    assert tiny[1:4] == [module.model.name, str(module.model.spec.num_cells), str(module.model.spec.filters)]
    assert large[-3] == "4320"
    for path in ("nowhere/model", "./nowhere", "nowhere/", "nowhere.pth"):
        assert error_of(run("models", path)).startswith(f"{Path(path)} does not exist")


def test_export_names_a_network_once(tmp_path: Path) -> None:
    out = tmp_path / "tiny.onnx"
    assert run("export", "pnasnet_tiny", out).stdout == f"{out}: pnasnet_tiny, global_pool\n"


def test_convert_then_use(tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    result = run("convert", HUB, out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: tiny_hub_tf2, no classifier, ")
    before, after = Module(str(HUB), image_size=(64, 64)), Module(str(out))
    assert before.variables.keys() == after.variables.keys()
    for name, value in before.variables.items():
        np.testing.assert_array_equal(after.variables[name], value)


def test_convert_to_half_the_size(tmp_path: Path) -> None:
    assert run("convert", HUB, tmp_path / "half.safetensors", "--float16").exit_code == 0
    run("convert", HUB, tmp_path / "whole.safetensors")
    half, whole = (Module(str(tmp_path / f"{name}.safetensors")).variables for name in ("half", "whole"))
    name = next(name for name in whole if name.endswith("pointwise_weights"))
    np.testing.assert_array_equal(half[name], whole[name].astype(np.float16))
    assert (half[name] != whole[name]).any()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["nowhere.ckpt", "out.safetensors"], 1, "nowhere.ckpt"),
        ([PHOTOS, "out.safetensors"], 1, "holds no weights"),
        (["pnasnet_large", "none/out.safetensors"], 1, "cannot write none/out.safetensors: there is no folder none"),
        ([HUB, "out.safetensors", "--model", "nasnet_mobil"], 2, "did you mean nasnet_mobile"),
        ([HUB, "out.safetensors", "--model", "pnasnet_mobile"], 1, "does not match the network: "),
        ([HUB, "out.txt"], 2, "cannot write out.txt: name a file that ends in .safetensors"),
    ],
)
def test_convert_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str | Path], exit_code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error_of(run("convert", *arguments), exit_code)
    assert not list(tmp_path.iterdir())


def test_converted_weights_have_one_ending() -> None:
    """By which a person knows them."""
    result = run("convert", HUB, "out.txt")
    assert result.exit_code == 2
    assert "cannot write out.txt: name a file that ends in .safetensors" in result.stderr


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_export_then_run_in_openvino(tmp_path: Path, suffix: str) -> None:
    import openvino

    out = tmp_path / f"model.{suffix}"
    model = HERE / "checkpoints/tiny_hub_tf1"
    result = run("export", model, out, "--endpoint", "global_pool", "--endpoint", "Cell_0")
    assert result.exit_code == 0, result.output
    compiled = openvino.Core().compile_model(out, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    expected = Module(str(model)).run(images, ("global_pool", "Cell_0"))
    for name, value in expected.items():
        np.testing.assert_allclose(compiled([images])[name], value, rtol=1e-4, atol=1e-5)


def test_export_errors(tmp_path: Path) -> None:
    model = HERE / "checkpoints/tiny_hub_tf1"
    assert "neither in .onnx nor in .xml" in run("export", model, tmp_path / "model.pb").stderr
    assert "unknown endpoint 'Cel_0'" in usage_error_of(
        run("export", model, tmp_path / "m.onnx", "--endpoint", "Cel_0")
    )
    assert "there is no folder" in error_of(run("export", model, tmp_path / "none/m.onnx"))
    assert "there is no folder" in error_of(run("export", model, tmp_path / "none/m.xml"))
    assert not list(tmp_path.iterdir())


def test_weights_that_state_their_model_need_no_name(tmp_path: Path) -> None:
    Module("pnasnet_tiny").export(tmp_path / "own.safetensors")
    photo = next(PHOTOS.glob("*.jpg"))
    alone = run("classify", photo, "--weights", tmp_path / "own.safetensors", "--json", "--quiet")
    assert alone.exit_code == 0, alone.output
    assert alone.stdout == run("classify", photo, "--model", "pnasnet_tiny", "--json", "--quiet").stdout


@pytest.mark.parametrize(("option", "value"), [([], 1), (["--moving-averages"], 1), (["--no-moving-averages"], 0)])
def test_convert_chooses_moving_averages(tmp_path: Path, option: list[str], value: int) -> None:
    name, plain = "final_layer/FC/biases", dict(Module("pnasnet_tiny").variables)
    plain[name] = np.zeros(10, np.float32)
    write_checkpoint(tmp_path / "m.ckpt", plain | {f"{name}/ExponentialMovingAverage": np.ones(10, np.float32)})
    result = run("convert", tmp_path / "m.ckpt", tmp_path / "out.safetensors", *option)
    assert result.exit_code == 0, result.output
    assert Module(tmp_path / "out.safetensors").variables[name].max() == value
