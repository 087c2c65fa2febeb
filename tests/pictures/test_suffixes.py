"""Archives, tables and lists of other software; unique names; hidden files."""

import gzip
import io
import shutil
import subprocess
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import ImageError, InputError
from pnasnet.extract.feed import read_ahead
from pnasnet.images import LIMITS
from pnasnet.pictures import PassedOver, Picture, find_named, list_units, read_list
from pnasnet.pictures import tar as tar_files

from tests.helpers.corpus import jpeg, pictures, tar, write_folder, zipped


def found_in(*sources: Path | str, **options: object) -> list[Picture]:
    return [picture for unit in list_units(sources, **options) for picture in unit.pictures()]  # type: ignore[arg-type]


def contents(*sources: Path | str, **options: object) -> list[bytes]:
    read = [picture.read() for picture in found_in(*sources, **options)]
    return [Path(item).read_bytes() if isinstance(item, str) else bytes(item) for item in read]  # type: ignore[arg-type]


def check_way_back(path: Path) -> None:
    """Find every picture again by its name."""
    expected = {picture.name: picture.read() for picture in found_in(path)}
    assert {picture.name: picture.read() for picture in find_named(list(expected)[::-1])} == expected


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_by_arrow_codecs(tmp_path: Path, codec: str) -> None:
    path = tmp_path / f"a.tar.{ {'zstd': 'zst'}.get(codec, codec) }"
    with pa.CompressedOutputStream(str(path), codec) as stream:
        stream.write(tar(pictures(5)))
    assert contents(path) == list(pictures(5).values())
    check_way_back(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="damaged from here on"):
        found_in(path)


@pytest.mark.parametrize("kind", ["", "gz", "xz"])
def test_concatenated_tars(tmp_path: Path, kind: str) -> None:
    path = tmp_path / (f"a.tar.{kind}" if kind else "a.tar")
    path.write_bytes(tar(pictures(3), f"w:{kind}") + tar(pictures(3, 3), f"w:{kind}"))
    assert contents(path) == list(pictures(6).values())
    check_way_back(path)


def test_other_data_after_a_tar_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(pictures(1)) + b"no tar".ljust(512))
    (unit,) = list_units([tmp_path / "a.tar"])
    found = unit.pictures()
    assert next(found).read() == jpeg(0)
    with pytest.raises(ImageError, match="other data follow the end mark"):
        next(found)


@pytest.mark.parametrize("kind", ["", "gz"])
def test_links_lead_to_files_of_the_tar(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name, link, type_ in (
            ("d/a.jpg", "", tarfile.REGTYPE),
            ("hard.jpg", "d/a.jpg", tarfile.LNKTYPE),
            ("d/soft.jpg", "a.jpg", tarfile.SYMTYPE),
            ("d/twice.jpg", "../hard.jpg", tarfile.SYMTYPE),
            ("out.jpg", "/etc/passwd", tarfile.SYMTYPE),
            ("round.jpg", "round.jpg", tarfile.SYMTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = type_, link, 0 if link else len(jpeg(0))
            archive.addfile(info, io.BytesIO(jpeg(0)))
    path = tmp_path / f"a.tar{'.gz' if kind else ''}"
    path.write_bytes(stream.getvalue())
    found = found_in(path)
    assert [picture.read() for picture in found[:4]] == [jpeg(0)] * 4
    for picture in found[4:]:
        with pytest.raises(ImageError, match="which is not in the tar"):
            picture.read()


def tar_with_links(files: dict[str, bytes]) -> bytes:
    """Return a tar with files, followed by a link to each, `link-NAME`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name in files:
            info = tarfile.TarInfo(f"link-{name}")
            info.type, info.linkname = tarfile.SYMTYPE, name
            archive.addfile(info)
    return stream.getvalue()


def test_each_file_that_is_read_in_place_may_be_as_large_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a.jpg": jpeg(0), "b.jpg": jpeg(0)}
    (tmp_path / "a.tar").write_bytes(tar_with_links(files))
    monkeypatch.setattr(tar_files, "LIMITS", replace(LIMITS, bytes=len(jpeg(0))))
    assert [picture.read() for picture in found_in(tmp_path / "a.tar")] == 2 * list(files.values())
    assert Picture("a.jpg", bytes).held == 0


@pytest.mark.parametrize("missing", [0, 1])
def test_files_that_links_lead_to_are_kept_in_memory_up_to_the_limit(
    tmp_path: Path, missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of a compressed tar: another one is read in place."""
    files = {"a.jpg": jpeg(0), "b.jpg": jpeg(1)}
    (tmp_path / "a.tar").write_bytes(tar_with_links(files))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_with_links(files)))
    monkeypatch.setattr(tar_files, "LIMITS", replace(LIMITS, bytes=sum(map(len, files.values())) - missing))
    assert [picture.read() for picture in found_in(tmp_path / "a.tar")] == 2 * list(files.values())
    first, second = found_in(tmp_path / "a.tar.gz")[2:]
    assert first.read() == files["a.jpg"]
    if not missing:
        assert second.read() == files["b.jpg"]
        return
    with pytest.raises(ImageError, match=r"a link to 'b.jpg', which is not in the tar or too large: add the file"):
        second.read()


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_files_as_gnu_tar_writes_them(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with (folder / "sparse.jpg").open("wb") as file:
        for place in (0, 10**6, 3 * 10**6):
            file.seek(place)
            file.write(jpeg(1))
    command = ["tar", "-S", f"--format={form}", "-cf", str(tmp_path / "a.tar"), "-C", str(folder), "sparse.jpg"]
    subprocess.run(command, check=True, timeout=600)
    assert (tmp_path / "a.tar").stat().st_size < 10**6
    assert contents(tmp_path / "a.tar") == [(folder / "sparse.jpg").read_bytes()]


def test_members_with_equal_names_get_unique_names(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, name in enumerate(["a.jpg", "a.jpg", "a.jpg#2.jpg", "a.jpg"]):
            info = tarfile.TarInfo(name)
            info.size = len(jpeg(number))
            archive.addfile(info, io.BytesIO(jpeg(number)))
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive_of_two:
        archive_of_two.writestr("a.jpg", jpeg(0))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive_of_two.writestr("a.jpg", jpeg(1))
    assert [picture.name.rpartition("/")[2] for picture in found_in(tmp_path / "a.tar")] == [
        "a.jpg", "a.jpg#2", "a.jpg#2.jpg", "a.jpg#3",
    ]  # fmt: skip
    for name, count in (("a.tar", 4), ("a.zip", 2)):
        assert contents(tmp_path / name) == [jpeg(number) for number in range(count)]
        check_way_back(tmp_path / name)


def test_hidden_members_are_ignored_as_in_folders(tmp_path: Path) -> None:
    files = {"__MACOSX/._a.jpg": b"x", "a.jpg": jpeg(0), ".b.jpg": b"x", "d/.c/e.jpg": b"x", "./f.jpg": jpeg(1)}
    (tmp_path / "a.tar").write_bytes(tar(files))
    (tmp_path / "a.zip").write_bytes(zipped(files))
    folder = write_folder(tmp_path / "folder", {"a.jpg": jpeg(0), "f.jpg": jpeg(1)})
    write_folder(folder / "__MACOSX", {"a.jpg": b"x"})
    for source in (tmp_path / "a.tar", tmp_path / "a.zip", folder):
        assert contents(source) == [jpeg(0), jpeg(1)]


def test_an_encrypted_member_is_reported(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.jpg": jpeg(0)}))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    (picture,) = found_in(tmp_path / "a.zip")
    with pytest.raises(ImageError, match=r"a\.zip/a\.jpg: encrypted: unpack the zip file with its password"):
        picture.read()


CELLS = pa.array([jpeg(0), jpeg(1), jpeg(0)])


@pytest.mark.parametrize(
    "column",
    [
        CELLS.dictionary_encode(),
        CELLS.cast(pa.binary_view()),
        pa.StructArray.from_arrays([CELLS.dictionary_encode(), pa.nulls(3, pa.string_view())], ["bytes", "path"]),
        CELLS.cast(pa.large_binary()),
    ],
)
def test_encodings_of_columns(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    assert contents(tmp_path / "a.parquet") == [jpeg(0), jpeg(1), jpeg(0)]


def test_a_column_of_another_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": CELLS}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"only 'photo': name one with --image-column"):
        found_in(tmp_path / "a.parquet")
    assert contents(tmp_path / "a.parquet", image_column="photo") == [jpeg(0), jpeg(1), jpeg(0)]


@pytest.mark.parametrize(
    "saved",
    [
        b"\xef\xbb\xbfa.jpg\r\n\r\nb, c.jpg\r\n",
        "\ufeffa.jpg\r\n\r\nb, c.jpg\r\n".encode("utf-16-le"),
        '\ufeffa.jpg\n"b, c.jpg"'.encode("utf-16-be"),
        "a.jpg\n\nb, c.jpg\n".encode("utf-16-be"),
        '"a.jpg"\r\nb, c.jpg'.encode("utf-16-le"),
        b'a.jpg\r"b, c.jpg"\r',
    ],
)
def test_lists_as_editors_and_spreadsheets_save_them(tmp_path: Path, saved: bytes) -> None:
    (tmp_path / "list").write_bytes(saved)
    assert list(read_list(str(tmp_path / "list"))) == ["a.jpg", "b, c.jpg"]


def test_a_line_of_a_list_is_no_pattern(tmp_path: Path) -> None:
    write_folder(tmp_path, pictures(3))
    (picture,) = found_in(f"{tmp_path}/*.jpg", listed=True)
    assert picture.name == f"{tmp_path}/*.jpg"
    assert len(found_in(f"{tmp_path}/*.jpg")) == 3


def test_skipped_files_of_a_folder_are_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {**pictures(2), "IMG_0001": jpeg(0), "b.raw": jpeg(1), "c.txt": b"x"})
    write_folder(folder / "deep", {"d.txt": b"y", ".hidden": b"z"})
    passed_over = PassedOver()
    assert len(found_in(folder, passed_over=passed_over)) == 2
    assert passed_over.count == 4
    line = str(passed_over)
    assert line.startswith("skipped 4 files without the suffix of an image format: 1 ")
    assert f"1 without suffix (JPEG inside, such as {folder}/IMG_0001: rename them)" in line
    assert line.endswith("2 .txt")
    assert str(PassedOver()) == ""


def test_large_rows_are_not_all_in_memory(tmp_path: Path) -> None:
    """A file of a few kilobytes has 20 rows of 50 MB; rows that are read ahead stay within the limit of memory."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array([bytes(50_000_000)] * 20)}), path, compression="zstd")
    assert path.stat().st_size < 30_000
    before, most = pa.total_allocated_bytes(), 0
    pictures_ahead = read_ahead(next(list_units([path])).pictures())
    assert next(pictures_ahead).held >= 50_000_000
    for _ in range(50):
        time.sleep(0.02)
        most = max(most, pa.total_allocated_bytes() - before)
    pictures_ahead.close()
    assert most < 600_000_000
