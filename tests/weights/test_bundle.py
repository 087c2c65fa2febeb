import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import CorruptWeightsError, WeightsError, WeightsNotFoundError
from pnasnet.weights import open_weights
from pnasnet.weights.bundle import Bundle, find_checkpoint

from tests.helpers.weights_files import CHECKPOINTS, Tensor, chunk, flip, number, one_line, write_checkpoint

ONES = np.ones((2, 3), np.float32)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the TF-Slim checkpoint that TensorFlow wrote."""
    folder: Path = shutil.copytree(CHECKPOINTS / "tiny_slim", tmp_path / "tiny")
    return folder


def test_tensorflows_own_checkpoint_is_read_whole() -> None:
    bundle = Bundle(CHECKPOINTS / "tiny_slim" / "model.ckpt")
    with np.load(CHECKPOINTS / "tiny_expected.npz") as expected:
        assert set(bundle.shapes) == set(expected["names"].tolist())
    for name, shape in bundle.shapes.items():
        array = bundle.read(name)
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.writeable
    assert "global_step" not in bundle.shapes


def test_floating_dtypes_become_float32_and_others_are_left_out(tmp_path: Path) -> None:
    values = np.array([1.5, -2.0, 0.25])
    bfloat16 = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensors: dict[str, Tensor | np.ndarray] = {
        "f32": values.astype(np.float32),
        "f64": values,
        "f16": values.astype(np.float16),
        "bf16": Tensor(bfloat16, dtype=14),
        "global_step": np.array(7, np.int64),
        "f32/Momentum": np.zeros(3, np.float32),
        "scalar": np.array(2.5, np.float32),
    }
    bundle = Bundle(write_checkpoint(tmp_path / "model.ckpt", tensors))
    for name in ("f32", "f64", "f16", "bf16"):
        assert bundle.read(name).dtype == np.float32
        np.testing.assert_array_equal(bundle.read(name), values)
    assert bundle.read("scalar") == 2.5
    assert bundle.read("scalar").shape == ()
    assert set(bundle.shapes) == set(tensors) - {"global_step"}


def test_tensors_of_several_shards(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path / "m", {"a": Tensor(ONES, shard=0), "b": Tensor(2 * ONES, shard=1)}, shards=2)
    np.testing.assert_array_equal(Bundle(prefix).read("b"), 2 * ONES)
    assert [path.name for path in Bundle(prefix).files] == ["m.index", "m.data-00000-of-00002", "m.data-00001-of-00002"]
    (tmp_path / "m.data-00001-of-00002").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"m\.data-00001-of-00002 is missing") as caught:
        Bundle(prefix)
    one_line(caught.value)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(ONES, size=2**60),
        Tensor(ONES, shape=(2**40, 2**40), size=2**62),
        Tensor(ONES, shape=(2**31, 2**31), size=24),
        Tensor(ONES, shape=(3, 3)),
        Tensor(ONES, shape=(0, 2**60), size=0),
        Tensor(ONES, shape=(-2, -3)),
        Tensor(ONES, shape=(1,) * 60),
        Tensor(ONES, offset=2**63),
        Tensor(ONES, offset=4),
        Tensor(np.zeros(0, np.float32)),
    ],
)
def test_a_tensor_that_claims_more_than_its_file_is_refused_before_memory_is_allocated(
    tensor: Tensor, tmp_path: Path
) -> None:
    prefix = write_checkpoint(tmp_path / "model.ckpt", {"cell_0/1x1/weights": tensor})
    tracemalloc.start()
    try:
        with pytest.raises(CorruptWeightsError, match="cell_0/1x1/weights claims") as caught:
            Bundle(prefix)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    one_line(caught.value)


def test_unsupported_checkpoints_of_tensorflow_are_reported(tmp_path: Path) -> None:
    sliced = write_checkpoint(tmp_path / "sliced", {"a": Tensor(ONES, more=chunk(7, b""))})
    with pytest.raises(WeightsError, match="in slices"):
        Bundle(sliced)
    big_endian = write_checkpoint(tmp_path / "big", {"a": ONES}, header=number(2, 1))
    with pytest.raises(WeightsError, match="big-endian"):
        Bundle(big_endian)


def test_a_shard_number_beyond_the_shards_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="missing"):
        Bundle(write_checkpoint(tmp_path / "m", {"a": Tensor(ONES, shard=2**40)}))


def test_a_flipped_byte_is_noticed_when_its_tensor_is_read(tiny: Path) -> None:
    flip(tiny / "model.ckpt.data-00000-of-00001", 1000)
    bundle = Bundle(tiny / "model.ckpt")
    damaged = {}
    for name in bundle.shapes:
        try:
            bundle.read(name)
        except CorruptWeightsError as error:
            damaged[name] = one_line(error)
    assert len(damaged) == 1
    assert all(name in message for name, message in damaged.items())


def test_a_flipped_byte_of_the_index_is_noticed(tiny: Path) -> None:
    flip(tiny / "model.ckpt.index", 1000)
    with pytest.raises(CorruptWeightsError, match=r"model\.ckpt\.index is damaged"):
        Bundle(tiny / "model.ckpt")


@pytest.mark.parametrize("length", [0, 10, 100_000])
def test_a_cut_shard_is_noticed(tiny: Path, length: int) -> None:
    shard = tiny / "model.ckpt.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(CorruptWeightsError, match="cut short"):
        Bundle(tiny / "model.ckpt")


def test_no_more_than_one_tensor_is_held(tmp_path: Path) -> None:
    large = {f"v{i}": np.full((256, 1024), i, np.float32) for i in range(8)}  # 1 MiB each
    bundle = Bundle(write_checkpoint(tmp_path / "model.ckpt", large))
    tracemalloc.start()
    try:
        for name in bundle.shapes:
            bundle.read(name)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
def test_the_mapped_file_does_not_stay_in_memory(tmp_path: Path) -> None:
    large = {f"v{i}": np.full((2048, 1024), i, np.float32) for i in range(12)}  # 96 MiB in all
    prefix = write_checkpoint(tmp_path / "model.ckpt", large)
    code = (
        "import re, sys; from pathlib import Path; from pnasnet.weights.bundle import Bundle\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "bundle = Bundle(Path(sys.argv[1])); before = peak()\n"
        "for name in bundle.shapes: bundle.read(name)\n"
        "print(peak() - before)"
    )
    grown = subprocess.run(
        [sys.executable, "-c", code, str(prefix)], capture_output=True, text=True, check=True, timeout=600
    )
    assert int(grown.stdout) < 40 * 1024  # KiB: a tensor and its mapped pages, and the one before


def test_of_several_checkpoints_the_one_named_by_training_is_used(tmp_path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path / f"model.ckpt-{step}", {"a": step * ONES})
    with pytest.raises(WeightsError, match=r"name one of them: model\.ckpt-1, model\.ckpt-2"):
        open_weights(tmp_path)
    for said in ("model.ckpt-2", "/gone/elsewhere/model.ckpt-2", r"C:\\train\\model.ckpt-2"):
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{said}"\nall_model_checkpoint_paths: "x"\n')
        np.testing.assert_array_equal(open_weights(tmp_path).arrays["a"], 2 * ONES)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "../model.ckpt-3"\n')
    with pytest.raises(WeightsError, match="several checkpoints"):
        open_weights(tmp_path)


def test_an_index_is_not_copied_before_its_length_is_checked(tmp_path: Path) -> None:
    with (tmp_path / "model.ckpt.index").open("wb") as file:
        file.truncate(4 * 2**30)  # sparse
    tracemalloc.start()
    try:
        with pytest.raises(CorruptWeightsError, match="has 4,294,967,296 bytes, more than the limit"):
            open_weights(tmp_path / "model.ckpt")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_folder_is_no_index_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "features.index").mkdir()
    assert find_checkpoint(tmp_path) is None
