"""Folders of quantized models, sound and damaged."""

from pathlib import Path
from typing import Any

import pytest

from pnasnet.errors import CorruptWeightsError, InputError, WeightsError, WeightsNotFoundError
from pnasnet.module.open import open_model
from pnasnet.weights import open_weights
from pnasnet.weights.quantized import FORMAT, MANIFEST, QuantizedWeights

from tests.helpers.quantized_models import change_manifest, copied, quantized_tiny


@pytest.mark.parametrize("name", [".", "quantization.json", "int8.xml", "int8.bin"])
def test_a_quantized_model_is_opened_by_its_folder_or_any_of_its_files(name: str) -> None:
    source = open_weights(quantized_tiny().folder / name)
    assert isinstance(source, QuantizedWeights)
    assert (source.format, source.classes, source.image_size) == ("int8 graph", 10, (32, 32))
    assert source.graph.floating == "bfloat16"
    assert source.calibrated.highest.shape == (960,)


def test_its_arrays_cannot_be_read() -> None:
    source = open_weights(quantized_tiny().folder)
    with pytest.raises(InputError, match="is quantized to int8 and has no float32 weights: use its source"):
        source.arrays["final_layer/FC/biases"]


@pytest.mark.parametrize("name", ["int8.xml", "int8.bin"])
def test_a_damaged_file_is_found_by_its_checksum(tmp_path: Path, name: str) -> None:
    folder = copied(tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=f"{name} is damaged .its checksum is not the one in the manifest"):
        open_weights(folder)


@pytest.mark.parametrize("name", ["int8.xml", "int8.bin"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = copied(tmp_path)
    (folder / name).unlink()
    with pytest.raises(WeightsNotFoundError, match=f"{name} does not exist"):
        open_weights(folder)


def test_another_version_is_named(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    change_manifest(folder, format="pnasnet-int8-9")
    with pytest.raises(
        WeightsError, match=f"has the format pnasnet-int8-9, and this version of pnasnet reads {FORMAT}"
    ):
        open_weights(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": None},
        {"spec": {"cell": 1}},
        {"settings": {}},
        {"settings": {"floating": "float8"}},
        {"sha256": {}},
        {"model": []},
        {"calibrated_range": {"highest": [1.0], "share": 0}},
        {"calibrated_range": {"highest": [float("nan")] * 960, "share": 0}},
        {"calibrated_range": {"highest": "many", "share": 0}},
        {"format": None},
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = copied(tmp_path)
    change_manifest(folder, **changes)
    with pytest.raises(
        CorruptWeightsError, match=r"quantization\.json is damaged .*: quantize the model again"
    ) as info:
        open_weights(folder)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_none(tmp_path: Path, content: bytes) -> None:
    folder = copied(tmp_path)
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=r"quantization\.json is damaged"):
        open_weights(folder)


def test_the_checksum_is_not_that_of_the_weights_it_was_made_from(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    checksum = open_weights(folder).checksum()
    assert checksum != open_model("pnasnet_tiny").checksum
    assert checksum == open_weights(quantized_tiny().folder).checksum()
