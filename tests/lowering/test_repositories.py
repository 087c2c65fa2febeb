"""Models in the folders of Triton and of OpenVINO Model Server."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import InputError, OutputError
from pnasnet.images import get_preset
from pnasnet.lowering.repositories import (
    RepositoryEntry,
    export_ovms,
    export_triton,
    ovms_files,
    triton_config,
    triton_files,
)

from tests.helpers.golden_weights import drawn

SPEC = NetworkSpec(PNASNET5, 2, 8, (16, 20), 5, stem="cifar")
PLAN, WEIGHTS = resolve(SPEC), drawn(SPEC)
(FEATURES,) = PLAN.endpoints()["global_pool"]
OWN: Any = {"config": {"name": "tiny", "base_path": "tiny", "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}}}


def listed(repository: Path) -> Any:
    return json.loads((repository / "config.json").read_text())


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_configuration_for_triton() -> None:
    assert triton_config(PLAN, "tiny", ("global_pool", "Logits"), None, 8) == (
        'name: "tiny"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 8\n'
        'input {\n  name: "images"\n  data_type: TYPE_FP32\n  dims: [ 16, 20, 3 ]\n}\n'
        f'output {{\n  name: "global_pool"\n  data_type: TYPE_FP32\n  dims: [ {FEATURES} ]\n}}\n'
        'output {\n  name: "Logits"\n  data_type: TYPE_FP32\n  dims: [ 5 ]\n}\n'
        "dynamic_batching { }\n"
    )
    text = triton_config(PLAN, "tiny", ("Logits",), get_preset("hub"), 1)
    assert 'input {\n  name: "images"\n  data_type: TYPE_UINT8\n  dims: [ -1, -1, 3 ]\n}\n' in text


def test_a_model_for_triton(tmp_path: Path) -> None:
    entry = RepositoryEntry(tmp_path / "models", "tiny")
    export_triton(PLAN, WEIGHTS, entry, ("Logits",), max_batch_size=4)
    assert files_of(entry.repository) == {f"tiny/{name}" for name in triton_files("tiny")}
    assert (entry.folder / "config.pbtxt").read_text() == triton_config(PLAN, "tiny", ("Logits",), None, 4)
    model = openvino.Core().read_model(entry.folder / "1/model.onnx")
    assert [output.any_name for output in model.outputs] == ["Logits"]
    compiled = openvino.Core().compile_model(model, "CPU", OWN["config"]["plugin_config"])
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


def test_a_model_for_openvino_model_server_keeps_the_others(tmp_path: Path) -> None:
    other = {"config": {"name": "other", "base_path": "/models/other", "nireq": 4}, "plugin": {}}
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": [other], "more": 1}))
    export_ovms(PLAN, WEIGHTS, RepositoryEntry(tmp_path, "tiny"), ("Logits",), {"origin": "here"})
    assert listed(tmp_path) == {"model_config_list": [other, OWN], "more": 1}
    assert files_of(tmp_path) == {"config.json", "tiny/1/tiny.xml", "tiny/1/tiny.bin"}
    assert ovms_files("tiny") == ("1/tiny.xml", "1/tiny.bin")
    model = openvino.Core().read_model(tmp_path / "tiny/1/tiny.xml")
    assert [output.any_name for output in model.outputs] == ["Logits"]


@pytest.mark.parametrize("kind", ["triton", "ovms"])
def test_an_existing_model_is_replaced_only_on_request(tmp_path: Path, kind: str) -> None:
    def export(weights: Any, **options: Any) -> None:
        entry = RepositoryEntry(tmp_path, "tiny", **options)
        if kind == "triton":
            export_triton(PLAN, weights, entry, max_batch_size=1)
        else:
            export_ovms(PLAN, weights, entry)

    def content() -> bytes:
        return (tmp_path / "tiny/1" / ("model.onnx" if kind == "triton" else "tiny.bin")).read_bytes()

    export(WEIGHTS)
    first = content()
    other = {name: value + np.float32(1) for name, value in WEIGHTS.items()}
    with pytest.raises(OutputError, match="exists: choose another folder, or pass --overwrite"):
        export(other)
    assert content() == first
    export(other, overwrite=True)
    assert content() != first
    if kind == "ovms":
        assert listed(tmp_path) == {"model_config_list": [OWN]}


def test_a_model_that_is_listed_in_another_folder(tmp_path: Path) -> None:
    elsewhere = {"config": {"name": "tiny", "base_path": "/elsewhere", "nireq": 2}}
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": [elsewhere]}))
    message = r"config\.json lists a model tiny in another folder: choose another name, or pass --overwrite"
    with pytest.raises(OutputError, match=message):
        export_ovms(PLAN, WEIGHTS, RepositoryEntry(tmp_path, "tiny"))
    assert files_of(tmp_path) == {"config.json"}
    export_ovms(PLAN, WEIGHTS, RepositoryEntry(tmp_path, "tiny", overwrite=True))
    assert listed(tmp_path) == {"model_config_list": [{"config": {"name": "tiny", "base_path": "tiny", "nireq": 2}}]}


@pytest.mark.parametrize("text", ["[]", "3", '{"model_config_list": {}}', '{"model_config_list": [3]}',
                                  '{"model_config_list": [{"config": 1}]}', '{"model_config_list": [{}]}'])  # fmt: skip
def test_another_configuration_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json is not a configuration of OpenVINO Model Server: fix it"):
        export_ovms(PLAN, WEIGHTS, RepositoryEntry(tmp_path, "tiny"))
    assert (tmp_path / "config.json").read_text() == text
    assert files_of(tmp_path) == {"config.json"}


def test_a_configuration_without_models(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"monitoring": {}}')
    export_ovms(PLAN, WEIGHTS, RepositoryEntry(tmp_path, "tiny"))
    assert listed(tmp_path) == {"monitoring": {}, "model_config_list": [OWN]}


@pytest.mark.parametrize("name", ["a", "9", "A-b_c.1", "n" * 128])
def test_names_that_servers_accept(tmp_path: Path, name: str) -> None:
    RepositoryEntry(tmp_path, name).check(())


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "-a", "_a", 'a"b', "a b", "é", "n" * 129, "a\n"])
def test_names_that_servers_refuse(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be the name of a model in a repository: pass --name \(name=\.\.\.\)"):
        RepositoryEntry(tmp_path, name).check(())


def test_a_repository_is_created_in_an_existing_folder_only(tmp_path: Path) -> None:
    RepositoryEntry(tmp_path / "models", "tiny").create_repository(())
    assert (tmp_path / "models").is_dir()
    with pytest.raises(OutputError, match=r"there is no folder .*; create it first"):
        RepositoryEntry(tmp_path / "none/models", "tiny").check(())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it is a file"):
        RepositoryEntry(tmp_path / "file", "tiny").check(())
