import gc
import gzip
import io
import tarfile
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import CorruptWeightsError, OutputError, WeightsNotFoundError
from pnasnet.weights import archive, open_weights

from tests.helpers.weights_files import CHECKPOINTS, flip, one_line, small_disk


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where archives are unpacked: a folder of its own."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pack(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("name", "inside", "form"),
    [
        ("tiny_slim", ".", "TensorFlow checkpoint"),
        ("tiny_slim", "pnasnet/deep", "TensorFlow checkpoint"),
        ("tiny_hub_tf1", ".", "TF1 hub module"),
        ("tiny_hub_tf2", "module", "TF2 SavedModel"),
    ],
)
def test_an_archive_is_read_like_the_folder_in_it(
    name: str, inside: str, form: str, tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "weights.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(CHECKPOINTS / name, inside)
    folder = open_weights(CHECKPOINTS / name)
    with open_weights(path) as source:
        assert (source.format, source.path, source.image_size) == (form, path, folder.image_size)
        assert source.shapes == folder.shapes
        np.testing.assert_array_equal(source.arrays["conv0/weights"], folder.arrays["conv0/weights"])
        assert len(source.checksum()) == 64
        assert list(scratch.iterdir())
    assert not list(scratch.iterdir())


def test_unpacked_files_are_removed_with_the_last_reference(tmp_path: Path, scratch: Path) -> None:
    with tarfile.open(tmp_path / "weights.tar.gz", "w:gz") as tar:
        tar.add(CHECKPOINTS / "tiny_slim", ".")
    source = open_weights(tmp_path / "weights.tar.gz")
    assert list(scratch.iterdir())
    del source
    gc.collect()
    assert not list(scratch.iterdir())


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (tarfile.TarInfo("../model.ckpt.index"), "leads out"),
        (tarfile.TarInfo("a/../../model.ckpt.index"), "leads out"),
        (tarfile.TarInfo("/tmp/model.ckpt.index"), "leads out"),
        (tarfile.TarInfo("..\\model.ckpt.index"), "leads out"),
        (special("model.ckpt.index", tarfile.SYMTYPE, "/etc/passwd"), "not a regular file"),
        (special("model.ckpt.index", tarfile.LNKTYPE, "checkpoint"), "not a regular file"),
        (special("model.ckpt.index", tarfile.CHRTYPE), "not a regular file"),
        (special("model.ckpt.index", tarfile.FIFOTYPE), "not a regular file"),
    ],
)
def test_members_outside_the_folder_or_that_are_no_files_are_refused(
    info: tarfile.TarInfo, why: str, tmp_path: Path, scratch: Path
) -> None:
    path = pack(tmp_path / "evil.tar.gz", (tarfile.TarInfo("checkpoint"), b"x"), (info, b""))
    with pytest.raises(CorruptWeightsError, match=rf"evil\.tar\.gz is damaged: .*{why}") as caught:
        open_weights(path)
    one_line(caught.value)
    assert not list(scratch.iterdir())


def test_only_what_readers_need_is_written(tmp_path: Path) -> None:
    names = ("m/model.ckpt.index", "m/model.ckpt.meta", "m/run.sh", "m/model.ckpt.data-00000-of-00001")
    folder = archive.unpack(pack(tmp_path / "a.tar.gz", *((tarfile.TarInfo(name), b"x") for name in names)))
    assert {path.name for path in (folder / "m").iterdir()} == {"model.ckpt.index", "model.ckpt.data-00000-of-00001"}


@pytest.mark.parametrize("name", ["model.ckpt.index", "passed-over.bin"])
def test_a_bomb_is_not_unpacked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 2**20)
    path = pack(tmp_path / "bomb.tar.gz", (tarfile.TarInfo(name), bytes(3 * 2**20)))
    with pytest.raises(CorruptWeightsError, match="more bytes than any weights have"):
        open_weights(path)
    assert not list(scratch.iterdir())


def test_a_header_that_claims_much_memory_is_refused(tmp_path: Path) -> None:
    info = special("x", tarfile.XHDTYPE)
    info.size = 64 * 2**20
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as file:
        file.write(info.tobuf() + bytes(info.size))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptWeightsError, match="more bytes than any weights have"):
            open_weights(tmp_path / "bomb.tar.gz")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_headers_that_are_kept_take_no_memory(tmp_path: Path) -> None:
    """Each member has a copy of what the header for all of them says."""
    path = tmp_path / "bomb.tar.gz"
    said = {"comment": "x" * 600_000}
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, pax_headers=said) as tar:
        for number in range(60):
            tar.addfile(tarfile.TarInfo(f"{number}.txt"))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsNotFoundError):
            open_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("names", [("a" * 300 + ".index",), ("a.index", "a.index/b.index")])
def test_names_that_no_disk_can_have_are_the_fault_of_the_archive(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = pack(tmp_path / "a.tar.gz", *((tarfile.TarInfo(name), b"") for name in names))
    with pytest.raises(CorruptWeightsError, match=r"a\.tar\.gz is damaged"):
        open_weights(path)


def test_a_negative_size_does_not_move_backwards(tmp_path: Path) -> None:
    info = tarfile.TarInfo("model.ckpt.index")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)  # base-256, as GNU tar writes large sizes
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    with gzip.open(tmp_path / "loop.tar.gz", "wb") as file:
        file.write(bytes(header) * 2 + bytes(1024))
    with pytest.raises(CorruptWeightsError):
        open_weights(tmp_path / "loop.tar.gz")


def test_members_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    path = pack(tmp_path / "many.tar.gz", *((tarfile.TarInfo(f"{i}.index"), b"") for i in range(4)))
    with pytest.raises(CorruptWeightsError, match="more than 3 files"):
        open_weights(path)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.9])
def test_a_damaged_or_cut_archive(where: float, tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "weights.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(CHECKPOINTS / "tiny_slim", ".")
    good = path.read_bytes()
    flip(path, int(where * len(good)))
    with pytest.raises(CorruptWeightsError, match=r"weights\.tar\.gz is damaged.*download it again"):
        open_weights(path)
    path.write_bytes(good[: int(where * len(good))])
    with pytest.raises(CorruptWeightsError, match=r"weights\.tar\.gz is damaged"):
        open_weights(path)
    assert not list(scratch.iterdir())


def test_a_full_disk(tmp_path: Path, scratch: Path) -> None:
    data = np.random.default_rng(0).bytes(2000)
    path = pack(tmp_path / "weights.tar.gz", (tarfile.TarInfo("model.ckpt.index"), data))
    with small_disk(), pytest.raises(CorruptWeightsError, match="not the index"):
        open_weights(path)
    path = pack(tmp_path / "weights.tar.gz", (tarfile.TarInfo("model.ckpt.index"), bytes(10_000)))
    with small_disk(), pytest.raises(OutputError, match=r"cannot write .*TMPDIR"):
        open_weights(path)
    assert not list(scratch.iterdir())


def test_an_archive_without_weights(tmp_path: Path, scratch: Path) -> None:
    path = pack(tmp_path / "other.tar.gz", (tarfile.TarInfo("README.md"), b"hello"))
    with pytest.raises(WeightsNotFoundError, match=r"other\.tar\.gz holds no weights"):
        open_weights(path)
    assert not list(scratch.iterdir())


def test_the_reader_seeks_neither_backwards_nor_far_ahead(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.gz", "wb") as file:
        file.write(bytes(100))
    with gzip.open(tmp_path / "a.gz") as file:
        reader = archive._BoundedReader(file)
        assert reader.seek(50) == 50
        for position in (49, -1, archive.MAX_BYTES + 1):
            with pytest.raises(ValueError, match="more bytes than any weights have"):
                reader.seek(position)
        assert reader.tell() == 50


@pytest.mark.parametrize(
    ("name", "most"), [("model.ckpt.index", 2**24), ("saved_model.pb", 2**29), ("checkpoint", 2**20)]
)
def test_small_files_are_unpacked_only_if_they_are_small(name: str, most: int, tmp_path: Path, scratch: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1) as tar:
        info = tarfile.TarInfo(name)
        info.size = most + 1
        with open("/dev/zero", "rb") as zeros:  # noqa: PTH123
            tar.addfile(info, zeros)
    with pytest.raises(CorruptWeightsError, match=rf"'{name}' claims {most + 1:,} bytes, more than {most:,}"):
        open_weights(tmp_path / "a.tar.gz")
    assert not list(scratch.iterdir())
