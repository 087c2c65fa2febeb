"""A module as files for other software: the formats, their options and their paths."""

from pathlib import Path
from typing import Any

import onnx
import openvino
import pytest

from pnasnet import Module
from pnasnet.errors import InputError, OutputError, UnknownNameError
from pnasnet.module.export import BATCH_SIZE, FORMATS, Export, format_of


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny", engine="fake")


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_formats_are_told_by_suffix() -> None:
    assert format_of(Path("a.onnx")) == "onnx"
    assert format_of(Path("a.xml")) == "openvino"
    with pytest.raises(InputError, match=r"a\.pb ends neither in \.onnx nor in \.xml: name such a file, or choose a"):
        format_of(Path("a.pb"))


def test_a_file(module: Module, tmp_path: Path) -> None:
    written = Export(tmp_path / "m.onnx", "onnx", ("Logits", "Cell_1")).write(module)
    assert written.path == tmp_path / "m.onnx"
    assert written.contents == ("Logits", "Cell_1")
    assert [output.name for output in onnx.load(written.path).graph.output] == ["Logits", "Cell_1"]
    written = Export(tmp_path / "m.xml", "openvino", preprocess=True).write(module)
    assert written.contents == ("global_pool",)
    (images,) = openvino.Core().read_model(written.path).inputs
    assert images.element_type.get_type_name() == "u8"


@pytest.mark.parametrize(
    ("format_", "folder"), [("triton", None), ("triton", "mine"), ("ovms", None), ("ovms", "mine")]
)
def test_a_folder_in_a_repository(module: Module, tmp_path: Path, format_: str, folder: str | None) -> None:
    written = Export(tmp_path, format_, name=folder).write(module)
    name = folder or "pnasnet_tiny"
    assert written.path == tmp_path / name
    assert written.contents == ("global_pool",)
    model = {f"{name}/1/model.onnx", f"{name}/config.pbtxt"}
    served = {f"{name}/1/{name}.xml", f"{name}/1/{name}.bin", "config.json"}
    assert files_of(tmp_path) == (model if format_ == "triton" else served)
    with pytest.raises(OutputError, match="exists: choose another folder, or pass --overwrite"):
        Export(tmp_path, format_, name=folder).write(module)
    Export(tmp_path, format_, name=folder, overwrite=True).write(module)


@pytest.mark.parametrize(("given", "limit"), [(None, 8), (3, 3)])
def test_the_largest_batch_of_triton(module: Module, tmp_path: Path, given: int | None, limit: int) -> None:
    assert BATCH_SIZE == 8
    written = Export(tmp_path, "triton", batch_size=given).write(module)
    assert f"max_batch_size: {limit}\n" in (written.path / "config.pbtxt").read_text()


def test_a_saved_model(module: Module, tmp_path: Path) -> None:
    written = Export(tmp_path / "m", "saved_model").write(module)
    assert set(written.contents) == {*module.get_signature_names(), "serving_default"}
    with pytest.raises(OutputError, match="exists: choose another folder, or pass --overwrite"):
        Export(tmp_path / "m", "saved_model").check()
    Export(tmp_path / "m", "saved_model", overwrite=True).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "onnx", "path": "m.xml"}, r"m\.xml does not end in \.onnx: name such a file, or choose another"),
        ({"format": "openvino", "path": "m.onnx"}, r"m\.onnx does not end in \.xml"),
        ({"format": "onnx", "name": "a"}, "the format onnx has no option name: leave it out"),
        ({"format": "ovms", "batch_size": 4}, "the format ovms has no option batch-size: leave it out"),
        ({"format": "openvino", "overwrite": True}, "the format openvino has no option overwrite"),
        ({"format": "saved_model", "endpoints": ("Logits",)}, "the format saved_model has no option endpoint: leave"),
        ({"format": "saved_model", "preprocess": True}, "the format saved_model has no option preprocess"),
        ({"format": "triton", "batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"format": "triton", "batch_size": -3}, "batch_size must be at least 1, not -3"),
        ({"format": "ovms", "name": "config.json"}, "'config.json' cannot be the name of a model"),
        ({"format": "triton", "name": "a/b"}, "'a/b' cannot be the name of a model"),
        ({"format": "triton", "path": "none/models"}, "there is no folder none; create it first"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    suffix = {"onnx": ".onnx", "openvino": ".xml"}.get(options["format"], "")
    with pytest.raises((InputError, OutputError), match=message):
        Export(Path(options.pop("path", f"m{suffix}")), **options).check()
    assert not list(tmp_path.iterdir())


def test_a_bin_file_of_something_else_is_found_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "m.bin").touch()
    with pytest.raises(OutputError, match=r"m\.bin exists without m\.xml"):
        Export(tmp_path / "m.xml", "openvino").check()
    (tmp_path / "m.xml").touch()
    Export(tmp_path / "m.xml", "openvino").check()


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_accepts_its_options(tmp_path: Path, format_: str) -> None:
    suffix = {"onnx": ".onnx", "openvino": ".xml"}.get(format_, "")
    accepted: dict[str, Any] = {"onnx": {"endpoints", "preprocess"}, "openvino": {"endpoints", "preprocess"},
                "triton": {"endpoints", "preprocess", "name", "batch_size", "overwrite"},
                "ovms": {"endpoints", "preprocess", "name", "overwrite"}, "saved_model": {"overwrite"}}  # fmt: skip
    values = {"endpoints": ("Logits",), "preprocess": True, "name": "a", "batch_size": 2, "overwrite": True}
    options = {name: value for name, value in values.items() if name in accepted[format_]}
    Export(tmp_path / f"m{suffix}", format_, **options).check()  # type: ignore[arg-type]


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown format 'onx': did you mean onnx"):
        Export(tmp_path / "m.onnx", "onx").check()
