"""`pnasnet export` into model repositories, and with preprocessing."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from pnasnet import Module
from pnasnet.images import decode

from tests.helpers.cli_runs import HERE, PHOTOS, error_of, run

HUB = HERE / "checkpoints/tiny_hub_tf1"
PHOTO = next(PHOTOS.glob("*.jpg"))


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_triton_repository(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    result = run("export", HUB, repository, "--format", "triton", "--name", "tiny", "--endpoint", "Cell_0")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{repository}/tiny: ")
    assert written(repository) == ["tiny/1/model.onnx", "tiny/config.pbtxt"]
    assert (repository / "tiny/config.pbtxt").read_text() == (
        'name: "tiny"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 8\n'
        'input {\n  name: "images"\n  data_type: TYPE_FP32\n  dims: [ 64, 64, 3 ]\n}\n'
        'output {\n  name: "Cell_0"\n  data_type: TYPE_FP32\n  dims: [ 8, 8, 40 ]\n}\n'
        "dynamic_batching { }\n"
    )
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    session = onnxruntime.InferenceSession(repository / "tiny/1/model.onnx")
    expected = Module(str(HUB)).run(images, ("Cell_0",))["Cell_0"]
    np.testing.assert_allclose(session.run(["Cell_0"], {"images": images})[0], expected, rtol=1e-4, atol=1e-5)


def test_tritons_own_parser_accepts_the_configuration(tmp_path: Path) -> None:
    endpoints = [word for name in ("global_pool", "Logits", "Cell_3") for word in ("--endpoint", name)]
    assert run("export", "pnasnet_tiny", tmp_path, "--format", "triton", *endpoints).exit_code == 0
    config = text_format.Parse((tmp_path / "pnasnet_tiny/config.pbtxt").read_text(), ModelConfig())
    assert (config.name, config.platform, config.max_batch_size) == ("pnasnet_tiny", "onnxruntime_onnx", 8)
    assert config.HasField("dynamic_batching")
    assert [(t.name, DataType.Name(t.data_type), list(t.dims)) for t in (*config.input, *config.output)] == [
        ("images", "TYPE_FP32", [32, 32, 3]),
        ("global_pool", "TYPE_FP32", [960]),
        ("Logits", "TYPE_FP32", [10]),
        ("Cell_3", "TYPE_FP32", [4, 4, 960]),
    ]


def test_a_model_that_preprocesses_equals_embed(tmp_path: Path) -> None:
    arguments = ("--format", "triton", "--preprocess", "--batch-size", "32")
    assert run("export", "pnasnet_tiny", tmp_path, *arguments).exit_code == 0
    config = (tmp_path / "pnasnet_tiny/config.pbtxt").read_text()
    assert "max_batch_size: 32\n" in config
    assert 'name: "images"\n  data_type: TYPE_UINT8\n  dims: [ -1, -1, 3 ]' in config
    pixels = decode(PHOTO)
    session = onnxruntime.InferenceSession(tmp_path / "pnasnet_tiny/1/model.onnx")
    (features,) = session.run(None, {"images": pixels[None]})
    expected = Module("pnasnet_tiny").embed(PHOTO)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_a_repository_of_openvino_model_server(tmp_path: Path) -> None:
    other = {"name": "other", "base_path": "/models/other", "nireq": 4}
    own = {"name": "pnasnet_tiny", "base_path": "pnasnet_tiny", "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": [{"config": other}], "more": 1}))
    result = run("export", "pnasnet_tiny", tmp_path, "--format", "ovms", "--preprocess")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "model_config_list": [{"config": other}, {"config": own}],
        "more": 1,
    }
    model = tmp_path / "pnasnet_tiny/1/pnasnet_tiny.xml"
    assert written(tmp_path / "pnasnet_tiny") == ["1/pnasnet_tiny.bin", "1/pnasnet_tiny.xml"]
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = Module("pnasnet_tiny").embed(PHOTO)
    features = compiled(decode(PHOTO)[None])["global_pool"]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("kind", ["triton", "ovms"])
def test_an_existing_model_is_replaced_only_on_request(tmp_path: Path, kind: str) -> None:
    arguments = ("export", "pnasnet_tiny", tmp_path, "--format", kind)
    assert run(*arguments).exit_code == 0
    before = {path: path.stat().st_ino for path in (tmp_path / "pnasnet_tiny").rglob("*.*")}
    assert "exists: choose another folder, or pass --overwrite" in error_of(run(*arguments))
    assert {path: path.stat().st_ino for path in (tmp_path / "pnasnet_tiny").rglob("*.*")} == before
    assert run(*arguments, "--overwrite").exit_code == 0
    assert written(tmp_path / "pnasnet_tiny") == [str(p.relative_to(tmp_path / "pnasnet_tiny")) for p in sorted(before)]
    listed = {"config.json", ".lock"} if kind == "ovms" else set()
    assert {path.name for path in tmp_path.iterdir()} == {"pnasnet_tiny", *listed}
    if kind == "ovms":
        assert len(json.loads((tmp_path / "config.json").read_text())["model_config_list"]) == 1
    (tmp_path / "pnasnet_tiny/notes.txt").write_text("mine")
    assert "also holds notes.txt, which would be lost" in error_of(run(*arguments, "--overwrite"))
    assert (tmp_path / "pnasnet_tiny/notes.txt").read_text() == "mine"


def test_a_damaged_config_of_openvino_model_server_is_named_and_kept(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"model_config_list": {}}', '{"model_config_list": [{"config": 1}]}'):
        (tmp_path / "config.json").write_text(text)
        assert "config.json is " in error_of(run("export", "pnasnet_tiny", tmp_path, "--format", "ovms"))
        assert (tmp_path / "config.json").read_text() == text
    elsewhere = {"model_config_list": [{"config": {"name": "pnasnet_tiny", "base_path": "/elsewhere"}}]}
    (tmp_path / "config.json").write_text(json.dumps(elsewhere))
    message = error_of(run("export", "pnasnet_tiny", tmp_path, "--format", "ovms"))
    assert "lists a model pnasnet_tiny in another folder" in message
    assert not (tmp_path / "pnasnet_tiny").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.onnx", "--format", "onx"], "unknown format 'onx': did you mean onnx"),
        (["m.xml", "--format", "onnx"], "m.xml does not end in .onnx"),
        (["m.onnx", "--name", "a"], "the format onnx has no option name"),
        (["models", "--format", "ovms", "--batch-size", "4"], "the format ovms has no option batch-size"),
        (["models", "--format", "triton", "--name", "../a"], "'../a' cannot be the name of a model"),
        (["models", "--format", "triton", "--name", 'a"b'], "cannot be the name of a model"),
        (["none/models", "--format", "triton"], "there is no folder none; create it first"),
        (["models", "--format", "triton", "--endpoint", "Cel_0"], "unknown endpoint 'Cel_0'"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error_of(run("export", HUB, *arguments), 1 if "folder" in message else 2)
    assert all(path.name == "models" for path in tmp_path.rglob("*"))


def test_weights_with_a_bicubic_preset_cannot_preprocess(tmp_path: Path) -> None:
    from pnasnet.weights import write_weights

    module = Module("pnasnet_tiny")
    extra = {"preset": "timm"}
    spec = json.dumps(module.model.spec.to_dict())
    write_weights(
        tmp_path / "t.safetensors", module.variables, model="tiny", spec=spec, origin="", classes=None, label_offset=0,
        extra=extra,
    )  # fmt: skip
    assert "the preset timm resizes as" in error_of(
        run("export", tmp_path / "t.safetensors", tmp_path / "m.onnx", "--preprocess")
    )
    assert not (tmp_path / "m.onnx").exists()


def test_a_file_in_place_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    assert "it is a file" in error_of(run("export", "pnasnet_tiny", tmp_path / "models", "--format", "triton"))


def test_one_pixel_pictures_are_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 200, 30)).save(tmp_path / "one.png")
    assert run("export", "pnasnet_tiny", tmp_path / "m.onnx", "--preprocess").exit_code == 0
    session = onnxruntime.InferenceSession(os.fspath(tmp_path / "m.onnx"))
    (features,) = session.run(None, {"images": decode(tmp_path / "one.png")[None]})
    expected = Module("pnasnet_tiny").embed(tmp_path / "one.png")
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * float(expected.max()))
