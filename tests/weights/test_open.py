import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pnasnet.errors import CorruptWeightsError, InputError, WeightsError, WeightsNotFoundError
from pnasnet.weights import open_weights, write_weights

from tests.helpers.weights_files import CHECKPOINTS, one_line, write_checkpoint

TINY = CHECKPOINTS / "tiny_slim"


@pytest.mark.parametrize(
    "name",
    [".", "checkpoint", "model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"],
)
def test_a_checkpoint_is_opened_by_its_prefix_its_folder_or_any_of_its_files(name: str) -> None:
    source = open_weights(str(TINY / name))
    assert source.format == "TensorFlow checkpoint"
    assert (len(source.arrays), source.classes, source.label_offset, source.image_size) == (440, 5, 0, None)


def test_a_saved_model_is_opened_by_its_file_too() -> None:
    source = open_weights(CHECKPOINTS / "tiny_hub_tf1" / "saved_model.pb")
    assert (source.format, source.image_size, source.classes) == ("TF1 hub module", (64, 64), None)
    assert source.hub
    assert "default" in source.hub.signatures


def test_safetensors_are_recognised_by_their_content(tmp_path: Path) -> None:
    save_file({"conv_0.conv.weight": np.zeros((8, 3, 5, 5), np.float32)}, tmp_path / "blob")
    assert open_weights(tmp_path / "blob").format == "timm safetensors"
    assert open_weights(tmp_path / "blob").shapes == {"conv0/weights": (5, 5, 3, 8)}
    save_file({"conv0/weights": np.zeros((5, 5, 3, 8), np.float32)}, tmp_path / "blob")
    assert open_weights(tmp_path / "blob").format == "safetensors"


def test_a_folder_with_one_safetensors_file(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "a.safetensors")
    assert set(open_weights(tmp_path).arrays) == {"a"}
    save_file({"b": np.zeros(1, np.float32)}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"name one of them: a\.safetensors, b\.safetensors"):
        open_weights(tmp_path)


def test_a_mapping_is_used_as_it_is() -> None:
    source = open_weights({"final_layer/FC/biases:0": np.zeros(1001), "a": torch.ones(2, 3), "b": [1, 2]})
    assert (source.format, source.classes, source.label_offset, source.path) == ("mapping", 1001, 1, None)
    assert source.shapes == {"final_layer/FC/biases": (1001,), "a": (2, 3), "b": (2,)}
    assert source.arrays["a"].dtype == np.float32


@pytest.mark.parametrize("mapping", [{1: np.zeros(1)}, {"a": "text"}, {"a": [[1], [1, 2]]}, {"a": None}])
def test_a_mapping_of_something_else_is_refused(mapping: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        dict(open_weights(mapping).arrays)
    one_line(caught.value)


def test_names_are_looked_up_without_reading_and_nothing_is_read_after_closing(tmp_path: Path) -> None:
    source = open_weights(TINY)
    kept = source.arrays["conv0/weights"]
    assert "conv0/weights" in source.arrays
    assert "nothing" not in source.arrays
    assert source.arrays.get("nothing") is None
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.arrays["conv0/weights"]
    assert kept.shape == (3, 3, 3, 32)


def test_checksums_identify_names_shapes_and_values_in_any_file(tmp_path: Path) -> None:
    arrays = {"a": np.ones(3, np.float32), "b": np.zeros(2)}
    path = tmp_path / "m.safetensors"
    write_weights(path, arrays, model="m", spec="{}", origin="o", classes=None, label_offset=0)
    first = open_weights(path).checksum()
    assert first == open_weights(arrays).checksum()
    assert open_weights(path).file_checksum() == hashlib.sha256(path.read_bytes()).hexdigest() != first
    write_weights(path, {**arrays, "c": np.ones(1)}, model="m", spec="{}", origin="o", classes=None, label_offset=0)
    assert open_weights(path).checksum() != first
    files = (TINY / "model.ckpt.index", TINY / "model.ckpt.data-00000-of-00001")
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    assert open_weights(TINY).file_checksum() == digest
    assert open_weights(TINY).checksum() == open_weights(dict(open_weights(TINY).arrays)).checksum()
    reshaped = {**arrays, "a": np.ones((3, 1), np.float32)}
    assert len({open_weights(a).checksum() for a in (arrays, reshaped, {**arrays, "b2": arrays["b"]})}) == 3
    assert open_weights({**arrays, "global_step": np.ones(())}).checksum() == first
    assert open_weights(arrays).checksum() == open_weights(dict(reversed(arrays.items()))).checksum()
    assert open_weights(arrays).checksum() != open_weights({**arrays, "a": np.zeros(3)}).checksum()


def test_a_missing_path_is_reported_with_the_known_formats(tmp_path: Path) -> None:
    for path in (tmp_path / "gone" / "model.ckpt", tmp_path):
        with pytest.raises(WeightsNotFoundError, match="safetensors") as caught:
            open_weights(path)
        assert str(path) in one_line(caught.value)


def test_an_empty_file_and_one_of_no_known_format(tmp_path: Path) -> None:
    for name in ("empty", "empty.safetensors", "model.ckpt.index", "model.pth"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(CorruptWeightsError, match=name) as caught:
            open_weights(tmp_path / name)
        one_line(caught.value)
    (tmp_path / "notes").write_bytes(b"to be trained")
    with pytest.raises(CorruptWeightsError, match="notes has no known format"):
        open_weights(tmp_path / "notes")


@pytest.mark.parametrize("name", ["model", "model.pth", "model.safetensors", "model.h5"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "an HTML page, not weights: a server may have sent it"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS, not weights: get the file by git lfs"),
        (bytes(257) + b"ustar" + bytes(250), "a tar, not weights: unpack it and pass the folder"),
        (b"BZh9", "a file compressed by bzip2, not weights: unpack it$"),
        (b"\x93NUMPY", "a NumPy array, not weights: pass a TensorFlow V2 checkpoint"),
        (b"%PDF-1.7", "a PDF, not weights: pass a TensorFlow V2 checkpoint"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=f"{name} is {said}") as caught:
        open_weights(tmp_path / name)
    one_line(caught.value)


def test_unreadable_sources(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="pipe: it is not a regular file"):
        open_weights(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="null: it is not a regular file"):
        open_weights("/dev/null")
    prefix = write_checkpoint(tmp_path / "model.ckpt", {"a": np.ones(2, np.float32)})
    shard = tmp_path / "model.ckpt.data-00000-of-00001"
    shard.unlink()
    shard.mkdir()
    with pytest.raises(WeightsError, match="cannot read") as caught:
        open_weights(prefix)
    one_line(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"x")
    (tmp_path / "m.safetensors").chmod(0)
    with pytest.raises(WeightsError, match=r"cannot read .*m\.safetensors: Permission denied"):
        open_weights(tmp_path / "m.safetensors")


def test_permission_denied_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "m.safetensors").write_bytes(b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(WeightsError, match=r"cannot read .*m\.safetensors: Permission denied"):
        open_weights(tmp_path / "m.safetensors")


def test_importing_the_room_brings_nothing_heavy() -> None:
    code = "import pnasnet.weights, sys; print({'torch', 'openvino', 'onnx', 'safetensors'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600).stdout == "set()\n"


@pytest.mark.parametrize(("suffix", "kind"), [(".safetensors", "safetensors files"), (".index", "checkpoints")])
def test_of_many_files_twenty_are_named(tmp_path: Path, suffix: str, kind: str) -> None:
    for number in range(30):
        (tmp_path / f"{number:02d}{suffix}").touch()
    with pytest.raises(WeightsError, match=f"holds several {kind}: name one of them: 00") as raised:
        open_weights(tmp_path)
    named = str(raised.value).rpartition("of them: ")[2].split(", ")
    assert [name.removesuffix(suffix) for name in named] == [f"{number:02d}" for number in range(20)]
