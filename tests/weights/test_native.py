import json
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as torch_save_file

from pnasnet.errors import CorruptWeightsError, InputError, OutputError
from pnasnet.weights import open_weights, write_weights
from pnasnet.weights.native import read_safetensors

from tests.helpers.weights_files import CHECKPOINTS, flip, one_line, small_disk

ARRAYS = {"conv0/weights": np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2), "final_layer/FC/biases": np.ones(7)}


def write(path: Path, arrays: Any = ARRAYS, **changes: Any) -> None:
    said: dict[str, Any] = {
        "model": "pnasnet_tiny",
        "spec": '{"filters": 8}',
        "origin": "a test",
        "classes": 7,
        "label_offset": 0,
    }
    write_weights(path, arrays, **{**said, **changes})


def test_written_weights_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", extra={"note": "ä"})
    source = open_weights(tmp_path / "m.safetensors")
    assert source.format == "pnasnet safetensors"
    assert source.metadata == {
        "format": "pnasnet-weights-1",
        "model": "pnasnet_tiny",
        "spec": '{"filters": 8}',
        "origin": "a test",
        "classes": "7",
        "label_offset": "0",
        "note": "ä",
    }
    assert (source.classes, source.label_offset) == (7, 0)
    for name, array in ARRAYS.items():
        assert source.arrays[name].dtype == np.float32
        assert source.arrays[name].flags.writeable
        np.testing.assert_array_equal(source.arrays[name], array)


def test_a_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "m.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m.safetensors").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_kernels_in_float16_take_half_and_come_back_as_float32(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"a/weights": rng.normal(size=(3, 3, 64, 64)), "a_bn/moving_variance": np.array([1e-7, 3e-8])}
    for name, float16 in (("whole.safetensors", False), ("half.safetensors", True)):
        write(tmp_path / name, arrays, float16=float16)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.51 * (tmp_path / "whole.safetensors").stat().st_size
    half = open_weights(tmp_path / "half.safetensors").arrays
    assert half["a/weights"].dtype == half["a_bn/moving_variance"].dtype == np.float32
    np.testing.assert_array_equal(half["a/weights"], np.float32(arrays["a/weights"]).astype(np.float16))
    np.testing.assert_array_equal(half["a_bn/moving_variance"], arrays["a_bn/moving_variance"].astype(np.float32))


def test_a_kernel_beyond_float16_is_not_written_as_infinity(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a/weights has values beyond the range of float16"):
        write(tmp_path / "m.safetensors", {"a/weights": np.array([[1.0, -70_000.0]])}, float16=True)
    assert not list(tmp_path.iterdir())


def test_the_stated_label_offset_counts(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", {"final_layer/FC/biases": np.ones(1001)}, classes=1001, label_offset=0)
    assert open_weights(tmp_path / "m.safetensors").label_offset == 0


def test_a_checkpoint_converted_is_the_same_weights(tmp_path: Path) -> None:
    with open_weights(CHECKPOINTS / "tiny_slim") as slim:
        write(tmp_path / "tiny.safetensors", slim.arrays, classes=None)
        converted = open_weights(tmp_path / "tiny.safetensors")
        assert converted.shapes == slim.shapes
        for name in slim.arrays:
            np.testing.assert_array_equal(converted.arrays[name], slim.arrays[name])


def test_extra_metadata_cannot_replace_our_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must not be named spec"):
        write(tmp_path / "m.safetensors", extra={"spec": "{}"})


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write(path)
    before = path.read_bytes()
    with small_disk(), pytest.raises(OutputError, match=r"cannot write .*m\.safetensors") as caught:
        write(path, {"a": np.zeros(10_000)})
    one_line(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    (path / "full").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot write"):
        write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "gone" / "m.safetensors")


def test_a_flipped_byte_of_an_array_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write(path)
    flip(path, -3)
    arrays = open_weights(path).arrays
    with pytest.raises(CorruptWeightsError, match=r"m\.safetensors is damaged: the checksum"):
        list(arrays.values())


def test_lost_checksums_are_noticed(tmp_path: Path) -> None:
    path, arrays = tmp_path / "m.safetensors", {"a": np.ones(2, np.float32)}
    lost: list[dict[str, str]] = [{}, {"crc32c": "[1]"}, {"crc32c": "["}, {"crc32c": "[" * 100_000}]
    for metadata in lost:
        save_file(arrays, path, {"format": "pnasnet-weights-1", **metadata})
        with pytest.raises(CorruptWeightsError, match="checksums cannot be read"):
            open_weights(path)
    save_file(arrays, path, {"format": "pnasnet-weights-1", "crc32c": "{}"})
    with pytest.raises(CorruptWeightsError, match="checksum of a"):
        open_weights(path).arrays["a"]


def header(claimed: object) -> bytes:
    text = json.dumps(claimed).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 50) + b"{}",
        b"{",
        header([]),
        header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}) + bytes(8),
        header({"a": {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 8]}}) + bytes(8),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}) + bytes(8),
        header({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}) + bytes(8),
    ],
)
def test_a_dishonest_header_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(CorruptWeightsError, match=r"m\.safetensors is damaged or not a safetensors file") as caught:
        open_weights(path)
    one_line(caught.value)


def test_other_files_dtypes(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray] = {"h": np.ones(2, np.float16), "d": np.ones(2), "steps": np.array([3])}
    save_file(tensors, tmp_path / "m")
    arrays, metadata = read_safetensors(tmp_path / "m")
    assert metadata == {}
    assert set(arrays) == {"h", "d"}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    float8 = header({"conv0/weights": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}) + bytes(4)
    (tmp_path / "m").write_bytes(float8)
    with pytest.raises(CorruptWeightsError, match="conv0/weights as F8_E4M3: convert it to float32"):
        read_safetensors(tmp_path / "m")


def test_bfloat16_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    values = torch.tensor([[1.5, -2.25e-3, 3e38], [0.0, -0.0, 1e-40]])
    torch_save_file({"h": torch.ones(3), "b": values.bfloat16(), "s": torch.tensor(0.1).bfloat16()}, tmp_path / "m")
    arrays, _ = read_safetensors(tmp_path / "m")
    np.testing.assert_array_equal(arrays["b"], values.bfloat16().float().numpy())
    assert arrays["s"].shape == ()
    assert arrays["b"].dtype == np.float32
    assert arrays["s"] == torch.tensor(0.1).bfloat16().float()


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    arrays = {name: np.full(3, index, np.float32) for index, name in enumerate("bca")}
    said: dict[str, Any] = {"model": "m", "spec": "{}", "origin": "o", "classes": 3, "label_offset": 0}
    extra = {f"key{index}": "é" for index in range(8)}
    write_weights(tmp_path / "1.safetensors", arrays, **said, extra=extra)
    write_weights(
        tmp_path / "2.safetensors", dict(reversed(arrays.items())), **said, extra=dict(reversed(extra.items()))
    )
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    with safe_open(tmp_path / "1.safetensors", "numpy") as file:  # the library agrees
        assert file.metadata()["key3"] == "é"
        np.testing.assert_array_equal(file.get_tensor("c"), arrays["c"])


@pytest.mark.parametrize("name", ["important.txt", "data.parquet", "model", ".safetensors"])
def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=r"name a file that ends in \.safetensors"):
        write(tmp_path / name)
    assert (tmp_path / name).read_text() == "precious"
