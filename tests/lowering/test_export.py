"""Networks as files for other programs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from pnasnet.architecture.plan import resolve
from pnasnet.errors import InputError, OutputError, UnknownNameError
from pnasnet.lowering.export import export_onnx, export_openvino_ir

from tests.helpers.golden_weights import SPECS, assert_endpoints, images, weights

NAME = "nasnet_cifar"
PLAN = resolve(SPECS[NAME])
OUTPUTS = ("Cell_3", "global_pool", "Predictions")
EXPORTS = [(export_onnx, "model.onnx"), (export_openvino_ir, "model.xml")]
each_format = pytest.mark.parametrize(("export", "file"), EXPORTS)


@each_format
def test_a_file_computes_the_endpoints(export: Callable[..., None], file: str, tmp_path: Path) -> None:
    export(PLAN, weights(NAME), tmp_path / file, OUTPUTS)
    compiled = openvino.Core().compile_model(tmp_path / file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = {port.any_name: value for port, value in compiled(images(32)).items()}
    assert list(outputs) == list(OUTPUTS)
    assert_endpoints(NAME, outputs)
    assert {path.stem for path in tmp_path.iterdir()} == {"model"}


def test_the_onnx_file_is_valid(tmp_path: Path) -> None:
    export_onnx(PLAN, weights(NAME), tmp_path / "model.onnx", OUTPUTS, {"model": NAME})
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)


def test_the_onnx_file_runs_in_onnxruntime(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(PLAN, weights(NAME), path, OUTPUTS)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(list(OUTPUTS), {"images": images(32)})
    assert_endpoints(NAME, dict(zip(OUTPUTS, outputs, strict=True)))


def test_metadata_goes_with_the_model(tmp_path: Path) -> None:
    export_onnx(PLAN, weights(NAME), tmp_path / "model.onnx", metadata={"origin": "here"})
    assert {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props} == {"origin": "here"}
    export_openvino_ir(PLAN, weights(NAME), tmp_path / "model.xml", metadata={"origin": "here"})
    model = openvino.Core().read_model(tmp_path / "model.xml")
    assert model.get_rt_info(["pnasnet", "origin"]).astype(str) == "here"


@each_format
def test_an_unwritable_target_is_one_line_and_leaves_nothing(
    export: Callable[..., None], file: str, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere.*: there is no folder .*nowhere"):
        export(PLAN, weights(NAME), tmp_path / "nowhere" / file)
    (tmp_path / file).mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        export(PLAN, weights(NAME), tmp_path / file)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_no_old_xml_is_beside_new_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process ends between the two files."""
    path = tmp_path / "model.xml"
    export_openvino_ir(PLAN, weights(NAME), path)
    replace = Path.replace

    def end(self: Path, target: Path) -> Path:
        if target.suffix == ".xml":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", end)
    with pytest.raises(OutputError, match="Input/output error"):
        export_openvino_ir(PLAN, weights(NAME), path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_full_disk_leaves_the_existing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old model")

    def fill(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OutputError, match="No space left on device"):
        export_onnx(PLAN, weights(NAME), path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"the old model"]


@pytest.mark.parametrize("export", [export_onnx, export_openvino_ir])
def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path, export: Callable[..., None]) -> None:
    (tmp_path / "important.txt").write_text("precious")
    with pytest.raises(InputError):
        export(PLAN, weights(NAME), tmp_path / "important.txt")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_bad_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown endpoint"):
        export_onnx(PLAN, weights(NAME), tmp_path / "model.onnx", ["Cell_99x"])
    with pytest.raises(InputError, match=r"NAME\.xml"):
        export_openvino_ir(PLAN, weights(NAME), tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


def test_a_bin_file_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"model\.bin exists without model\.xml: remove it, or choose another name"):
        export_openvino_ir(PLAN, weights(NAME), tmp_path / "model.xml")
    assert (tmp_path / "model.bin").read_bytes() == b"mine"
    assert not (tmp_path / "model.xml").exists()


def test_openvino_and_onnx_agree_to_the_bit(tmp_path: Path) -> None:
    core, results = openvino.Core(), []
    for export, file in EXPORTS:
        export(PLAN, weights(NAME), tmp_path / file)
        results.append(core.compile_model(tmp_path / file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images(32))[0])
    np.testing.assert_array_equal(*results)
