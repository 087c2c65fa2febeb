"""Damaged files of every format: one of our errors, or the same values if the byte does not matter."""

import gzip
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from pnasnet.errors import WeightsError
from pnasnet.weights import open_weights, write_weights
from pnasnet.weights.arrays import Array

from tests.helpers.weights_files import CHECKPOINTS, one_line, write_checkpoint

MEMORY = 32 * 2**20
"""Bytes that reading may take; each of the files below has less than 4 MiB."""

_TIMM = {
    "conv_0.conv.weight": np.ones((4, 3, 3, 3), np.float32),
    "last_linear.bias": np.zeros(10, np.float32),
}


def _small_checkpoint(folder: Path) -> Path:
    arrays = {f"cell_{i}/1x1/weights": np.full((1, 1, 2, i + 1), i, np.float32) for i in range(4)}
    return write_checkpoint(folder / "model.ckpt", arrays)


def _slim(folder: Path) -> Path:
    return shutil.copytree(CHECKPOINTS / "tiny_slim", folder / "slim") / "model.ckpt.index"


def _tf1(folder: Path) -> Path:
    return shutil.copytree(CHECKPOINTS / "tiny_hub_tf1", folder / "tf1") / "saved_model.pb"


def _tf2(folder: Path) -> Path:
    return shutil.copytree(CHECKPOINTS / "tiny_hub_tf2", folder / "tf2") / "variables" / "variables.index"


def _index(folder: Path) -> Path:
    return _small_checkpoint(folder).with_name("model.ckpt.index")


def _data(folder: Path) -> Path:
    return _small_checkpoint(folder).with_name("model.ckpt.data-00000-of-00001")


def _native(folder: Path) -> Path:
    path = folder / "m.safetensors"
    write_weights(path, {"conv0/weights": np.ones(9)}, model="m", spec="{}", origin="o", classes=3, label_offset=0)
    return path


def _timm(folder: Path) -> Path:
    save_file(_TIMM, folder / "timm.safetensors")
    return folder / "timm.safetensors"


def _pth(folder: Path) -> Path:
    torch.save({name: torch.from_numpy(array) for name, array in _TIMM.items()}, folder / "m.pth")
    return folder / "m.pth"


def _archive(folder: Path) -> Path:
    _small_checkpoint(folder)
    with tarfile.open(folder / "m.tar.gz", "w:gz") as tar:
        for path in sorted(folder.glob("model.ckpt.*")):
            tar.add(path, path.name)
    return folder / "m.tar.gz"


def _bare_tar(folder: Path) -> Path:
    """The tar within the archive, to be packed again once it is damaged."""
    path = folder / "bare.tar"
    path.write_bytes(gzip.decompress(_archive(folder).read_bytes()))
    return path


def read_everything(path: Path) -> dict[str, Array]:
    if path.suffix == ".tar":
        packed = path.with_suffix(".tar.gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
        path = packed
    with open_weights(path) as source:
        arrays = dict(source.arrays)
        assert {name: array.shape for name, array in arrays.items()} == source.shapes
        assert source.classes is None or source.classes > 0
    return arrays


@pytest.mark.parametrize(
    "make",
    [_slim, _tf1, _tf2, _index, _data, _native, _timm, _pth, _archive, _bare_tar],
    ids=lambda make: make.__name__,
)
def test_damage_raises_our_error_or_leaves_the_values(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    good = path.read_bytes()
    expected = read_everything(path)
    assert expected
    near = [0, max(0, len(good) - 64), min(len(good) - 1, 200)]

    examples = 100 if len(good) < 2**20 else 30

    @settings(max_examples=examples, database=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, len(good) - 1) | st.sampled_from(near).flatmap(lambda n: st.integers(n, n + 63)),
                st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x80" * 10]),
            ),
            min_size=1,
            max_size=3,
        ),
        st.none() | st.integers(0, len(good)),
    )
    def damage(changes: list[tuple[int, bytes]], length: int | None) -> None:
        data = bytearray(good)
        for position, new in changes:
            data[position : position + len(new)] = new
        path.write_bytes(data[:length])
        try:
            found = read_everything(path)
        except WeightsError as error:
            one_line(error)
        else:
            if make is not _timm:  # the only one of these formats without checksums
                assert found.keys() <= expected.keys()
                for name, array in found.items():
                    np.testing.assert_array_equal(array, expected[name], err_msg=name)

    tracemalloc.start()
    try:
        damage()
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
