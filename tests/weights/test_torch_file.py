import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pnasnet.errors import CorruptWeightsError, MissingExtraError
from pnasnet.weights import open_weights

from tests.helpers.weights_files import flip, one_line

STATE = {
    "conv_0.conv.weight": torch.arange(96 * 27, dtype=torch.float32).reshape(96, 3, 3, 3),
    "conv_0.bn.num_batches_tracked": torch.tensor(3),
    "conv_0.bn.weight": torch.ones(96, dtype=torch.float16),
    "last_linear.weight": torch.arange(12.0).reshape(3, 4),
    "last_linear.bias": torch.zeros(3),
}


class Bomb:
    """What runs code when it is unpickled carelessly."""

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return (Path.write_text, (Path("ran"), "yes"))


@pytest.mark.parametrize("zipped", [True, False])
def test_both_forms_of_pth_files_come_out_as_tf_slims(zipped: bool, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    source = open_weights(tmp_path / "m.pth")
    assert (source.format, source.classes, source.label_offset) == ("PyTorch state dict", 3, 0)
    assert set(source.arrays) == {"conv0/weights", "conv0_bn/gamma", "final_layer/FC/weights", "final_layer/FC/biases"}
    assert source.arrays["conv0_bn/gamma"].dtype == np.float32
    kernel = STATE["conv_0.conv.weight"].numpy()
    np.testing.assert_array_equal(source.arrays["conv0/weights"], kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(source.arrays["final_layer/FC/weights"], np.arange(12).reshape(3, 4).T)


def test_a_state_dict_within_a_training_checkpoint(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": STATE}, tmp_path / "m.pth")
    assert "conv0/weights" in open_weights(tmp_path / "m.pth").arrays


@pytest.mark.parametrize("classes", [1000, 1001])
def test_the_rows_of_the_classifier_stay_as_they_are_and_are_counted(classes: int, tmp_path: Path) -> None:
    torch.save({"last_linear.weight": torch.ones(classes, 2), "last_linear.bias": torch.ones(classes)}, tmp_path / "m")
    source = open_weights(tmp_path / "m")
    assert source.shapes["final_layer/FC/weights"] == (2, classes)
    assert (source.classes, source.label_offset) == (classes, classes - 1000)


@pytest.mark.parametrize("how", ["zip", "old", "plain"])
def test_code_is_never_run(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if how == "plain":
        Path("evil.pth").write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"a": Bomb()}, "evil.pth", _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(
        CorruptWeightsError, match=r"evil\.pth .*contains code or objects, which are never loaded"
    ) as caught:
        open_weights("evil.pth")
    one_line(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"a": torch.tensor(1)}, torch.ones(2), {}])
def test_files_without_state_dict_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(CorruptWeightsError, match="no state dict") as caught:
        open_weights(tmp_path / "m.pth")
    one_line(caught.value)


def test_a_view_that_claims_more_than_its_file_is_refused(tmp_path: Path) -> None:
    torch.save({"last_linear.weight": torch.ones(1).expand(2**40)}, tmp_path / "m.pth")
    with pytest.raises(CorruptWeightsError, match="claims the shape"):
        open_weights(tmp_path / "m.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bytearray_of_any_size_is_refused(zipped: bool, tmp_path: Path) -> None:
    """Torch would make it, of as many bytes as a small file says."""
    torch.save({**STATE, "x": bytearray(b"x")}, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CorruptWeightsError, match=r"m\.pth is damaged: it asks for a bytearray"):
        open_weights(tmp_path / "m.pth")


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"last_linear.weight": torch.ones(1, device="meta")}, tmp_path / "m.pth")
    with pytest.raises(CorruptWeightsError, match="claims the shape"):
        open_weights(tmp_path / "m.pth")


@pytest.mark.parametrize(("zipped", "position"), [(True, 2000), (False, 4)])
def test_a_cut_or_damaged_file(zipped: bool, position: int, tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptWeightsError) as caught:
        open_weights(path)
    one_line(caught.value)
    path.write_bytes(data)
    flip(path, position)
    with pytest.raises(CorruptWeightsError, match="damaged"):
        open_weights(path)


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(2**20))
    with pytest.raises(CorruptWeightsError, match="claims more than it holds"):
        open_weights(tmp_path / "m.pth")


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(STATE, tmp_path / "m.pth")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"m\.pth needs torch.*pnasnet\[torch\]"):
        open_weights(tmp_path / "m.pth")


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96"])  # BINBYTES8, BINUNICODE8, BYTEARRAY8
@pytest.mark.parametrize("size", [2**40, 2**33])
def test_a_pickle_that_asks_for_more_than_it_has_is_refused(opcode: bytes, size: int, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"\x80\x04" + opcode + size.to_bytes(8, "little") + b"x")
    with pytest.raises(CorruptWeightsError, match=r"m\.pth is damaged: it claims [0-9,]+ bytes, and has 12"):
        open_weights(tmp_path / "m.pth")


@pytest.mark.parametrize("size", [2**40, 2**33])
def test_a_storage_larger_than_its_file_is_refused(size: int, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "m.pth").read_bytes()
    number = size.to_bytes(6, "little")
    assert content.count(b"K\x03N") == 1
    (tmp_path / "m.pth").write_bytes(content.replace(b"K\x03N", b"\x8a\x06" + number + b"N"))  # LONG1
    with pytest.raises(CorruptWeightsError, match=r"m\.pth is damaged"):
        open_weights(tmp_path / "m.pth")
