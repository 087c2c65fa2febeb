"""Units of every kind of source: their pictures, names and failures."""

import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import ImageError, InputError
from pnasnet.pictures import Access, Files, Unit, check_sources, columns, list_units, listing, read_list
from pnasnet.pictures import parquet as parquet_files
from pnasnet.pictures.huggingface import SplitRows
from pnasnet.pictures.tar import Tar
from pnasnet.pictures.zip import Zip

from tests.helpers.corpus import jpeg, parquet, pictures, tar, write_folder, zipped


def names(*sources: Path | str) -> list[str]:
    return [picture.name for unit in list_units(sources) for picture in unit.pictures()]


def contents(*sources: Path | str) -> list[bytes]:
    """List all pictures, then read them, as decoders do."""
    found = [picture for unit in list_units(sources) for picture in unit.pictures()]
    read = [picture.read() for picture in found]
    return [Path(item).read_bytes() if isinstance(item, str) else bytes(item) for item in read]  # type: ignore[arg-type]


FIVE = pictures(5)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    made = {
        "folder": write_folder(tmp_path / "folder", FIVE),
        "tar": tmp_path / "a.tar",
        "tar.gz": tmp_path / "a.tar.gz",
        "tgz": tmp_path / "a.tgz",
        "tar.bz2": tmp_path / "a.tar.bz2",
        "tar.xz": tmp_path / "a.tar.xz",
        "zip": tmp_path / "a.zip",
        "parquet": parquet(tmp_path / "a.parquet", list(FIVE.values())),
    }
    for kind, path in made.items():
        if kind.startswith(("tar", "tgz")):
            path.write_bytes(tar(FIVE, f"w:{ {'tgz': 'gz'}.get(kind, kind[4:]) }"))
    made["zip"].write_bytes(zipped(FIVE))
    return made


KINDS = ["folder", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_pictures_of_a_source_in_order(sources: dict[str, Path], kind: str) -> None:
    path = sources[kind]
    assert contents(path) == list(FIVE.values())
    called = [f"{path}#{row}" for row in range(5)] if kind == "parquet" else [f"{path}/{name}" for name in FIVE]
    assert names(path) == called


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [1, 2, 5])
def test_a_unit_resumes_at_any_picture(sources: dict[str, Path], kind: str, start: int) -> None:
    for unit in list_units([sources[kind]]):
        whole = [picture.name for picture in unit.pictures()]
        assert [picture.name for picture in unit.pictures(start)] == whole[start:]


@pytest.mark.parametrize("kind", KINDS)
def test_units_survive_json(sources: dict[str, Path], kind: str) -> None:
    for unit in list_units([sources[kind]]):
        assert Unit.from_dict(json.loads(json.dumps(unit.to_dict()))) == unit
        assert unit.size in (None, len(list(unit.pictures())))


def test_files_are_grouped_by_the_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 2)
    folder = write_folder(tmp_path / "folder", FIVE)
    (tmp_path / "a.tar").write_bytes(tar(FIVE))
    units = list(list_units([folder, tmp_path / "a.tar", folder / "00000.jpg"]))
    assert [len(unit.paths) if isinstance(unit, Files) else unit.kind for unit in units] == [2, 2, 1, "tar", 1]


def test_a_pattern_matches_shards_images_and_folders(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar(pictures(1)))
    write_folder(tmp_path / "1", pictures(1, 1))
    (tmp_path / "2.jpg").write_bytes(jpeg(2))
    (tmp_path / "3.txt").write_text("no picture")
    (tmp_path / "4.zip").write_bytes(zipped(pictures(1, 4)))
    assert [Path(name).name for name in names(f"{tmp_path}/*")] == ["00000.jpg", "00001.jpg", "2.jpg", "00004.jpg"]


def test_only_the_images_of_an_archive_are_used(tmp_path: Path) -> None:
    files = {"a.json": b"{}", "b.jpg": jpeg(0), "c.txt": b"", "dir/d.PNG": jpeg(1)}
    for name, content in (("a.tar", tar(files)), ("a.zip", zipped(files))):
        (tmp_path / name).write_bytes(content)
        assert names(tmp_path / name) == [f"{tmp_path}/{name}/b.jpg", f"{tmp_path}/{name}/dir/d.PNG"]


def test_names_in_a_tar_are_never_paths(tmp_path: Path) -> None:
    kinds = {"../up.jpg": tarfile.REGTYPE, "/abs.jpg": tarfile.REGTYPE, "device.jpg": tarfile.CHRTYPE}
    kinds |= {"link.jpg": tarfile.SYMTYPE, "pipe.jpg": tarfile.FIFOTYPE, "hard.jpg": tarfile.LNKTYPE}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = len(jpeg(0)) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(jpeg(0)) if member.size else None)
    path = tmp_path / "a.tar"
    path.write_bytes(stream.getvalue())
    found = list(next(list_units([path])).pictures())
    assert [picture.name for picture in found] == [f"{path}/{name}" for name in kinds]
    assert [picture.read() for picture in found[:2]] == [jpeg(0)] * 2
    for picture in found[2:]:
        with pytest.raises(ImageError, match=r"a device, not a file|a link to .*, which is not in the tar"):
            picture.read()


def test_a_folder_in_an_archive_is_no_image_whatever_its_name(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folder, photo = tarfile.TarInfo("album.jpg"), tarfile.TarInfo("album.jpg/a.jpg")
        folder.type, photo.size = tarfile.DIRTYPE, len(jpeg(0))
        archive.addfile(folder)
        archive.addfile(photo, io.BytesIO(jpeg(0)))
    for name, content in (("a.tar", stream.getvalue()), ("a.zip", zipped({"album.jpg/": b"", "album.jpg/a.jpg": b""}))):
        (tmp_path / name).write_bytes(content)
        assert names(tmp_path / name) == [f"{tmp_path}/{name}/album.jpg/a.jpg"]


def test_the_rest_of_a_file_in_another_volume_of_a_tar(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in (("a.jpg", b"M"), ("b.jpg", tarfile.REGTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(jpeg(0))
            archive.addfile(member, io.BytesIO(jpeg(0)))
    (tmp_path / "2.tar").write_bytes(stream.getvalue())
    rest, whole = next(list_units([tmp_path / "2.tar"])).pictures()
    with pytest.raises(ImageError, match=r"2\.tar/a\.jpg: the rest of a file that begins in another volume"):
        rest.read()
    assert whole.read() == jpeg(0)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip", "parquet"])
@pytest.mark.parametrize("tenth", range(10))
def test_truncated_files_fail_with_one_line(sources: dict[str, Path], kind: str, tenth: int) -> None:
    whole = sources[kind].read_bytes()
    sources[kind].write_bytes(whole[: len(whole) * tenth // 10])
    failures = failures_of(sources[kind])
    assert all("\n" not in line and str(sources[kind]) in line for line in failures)
    assert failures or (kind, tenth) in {("tar", 8), ("tar", 9)}  # only the end mark is missing


def failures_of(source: Path) -> list[str]:
    """Read all pictures and return the errors."""
    failures = []
    try:
        for picture in next(list_units([source])).pictures():
            try:
                picture.read()
            except ImageError as error:
                failures.append(str(error))
    except (ImageError, InputError) as error:
        failures.append(str(error))
    return failures


def test_a_zip_with_a_wrong_size(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.jpg": bytes(100_000)}))
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    assert "cannot be unpacked" in "".join(failures_of(tmp_path / "a.zip"))


def test_a_large_row_group_is_not_all_in_memory(tmp_path: Path) -> None:
    noise = [os.urandom(1 << 20) for _ in range(40)]
    table = pa.table({"image": noise})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=40, write_batch_size=1)  # one page per image
    del table
    before, most = pa.total_allocated_bytes(), 0
    for number, found in enumerate(next(list_units([tmp_path / "a.parquet"])).pictures()):
        assert found.read() == noise[number]
        most = max(most, pa.total_allocated_bytes() - before)
    assert number == 39
    assert most < 25 << 20


def test_rows_without_a_picture_fail_alone(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [jpeg(0), None, jpeg(2)])
    found = list(next(list_units([path])).pictures())
    assert [found[0].read(), found[2].read()] == [jpeg(0), jpeg(2)]
    with pytest.raises(ImageError, match=r"a\.parquet#1: no image"):
        found[1].read()


def test_a_list_may_hold_any_name(tmp_path: Path) -> None:
    odd = ["a.jpg", "with space.jpg", "new\nline.jpg", "ümläut.jpg", os.fsdecode(b"\xff.jpg")]
    (tmp_path / "null").write_bytes(b"\0".join(map(os.fsencode, odd)))
    assert list(read_list(str(tmp_path / "null"), null=True)) == odd
    lines = tmp_path / "lines"
    lines.write_bytes(b"a.jpg\r\n\n  b.jpg\n" + b"x" * 200_000 + b"\nc.jpg")
    assert list(read_list(str(lines))) == ["a.jpg", "  b.jpg", "x" * 200_000, "c.jpg"]
    with pytest.raises(InputError, match="pass a file with one path per line"):
        list(read_list(str(tmp_path / "none")))


def test_missing_paths_of_a_list_are_pictures_that_fail(tmp_path: Path) -> None:
    there = write_folder(tmp_path / "folder", pictures(1)) / "00000.jpg"
    gone = [
        f"{tmp_path}/gone.jpg",
        f"{tmp_path}/gone[1].jpg",
        f"{tmp_path}/gone.tar",
        "x" * 5000,
        f"{tmp_path}/no/a.jpg",
    ]
    units = list(list_units([*gone, str(there)], listed=True))
    assert [picture.name for unit in units for picture in unit.pictures()] == [*gone, str(there)]
    with pytest.raises(InputError, match="does not exist"):
        list(list_units(gone))


@pytest.mark.parametrize(
    ("folder", "path", "read"),
    [
        ("https://host/d/a.parquet?key=1", "sub/a b.jpg", "https://host/d/sub/a%20b.jpg"),
        ("s3://bucket/d/a.parquet", "sub/a b.jpg", "s3://bucket/d/sub/a b.jpg"),
        ("s3://bucket/d/a.parquet", "https://other/a.jpg", "https://other/a.jpg"),
    ],
)
def test_paths_in_a_remote_parquet_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, path: str, read: str
) -> None:
    table = pa.table({"image": [{"bytes": None, "path": path}, {"bytes": None, "path": f"{tmp_path}/a.jpg"}]})
    table = table.cast(pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})}))
    pq.write_table(table, tmp_path / "a.parquet")
    write_folder(tmp_path, {"a.jpg": jpeg(0)})
    monkeypatch.setattr(parquet_files, "open_random", lambda *_: io.BytesIO((tmp_path / "a.parquet").read_bytes()))
    monkeypatch.setattr(columns, "read_url", lambda url, **options: url.encode())
    found = list(parquet_files.RowGroup(folder, "image", 0, 0, 2, hosts=("other",)).pictures())
    assert found[0].read() == read.encode()
    with pytest.raises(ImageError, match=r"a\.parquet.*#1: '/.*/a\.jpg' is a path on the writer's machine"):
        found[1].read()


def test_missing_sources_are_found_before_listing(tmp_path: Path) -> None:
    check_sources([tmp_path, f"{tmp_path}/*.jpg", "s3://bucket/x", "hf:name"])
    with pytest.raises(InputError, match=r"'nowhere\.tar' does not exist"):
        check_sources([tmp_path, "nowhere.tar"])


@pytest.mark.parametrize("source", ["file://", "FILE:///", "https://", "s3:///", "gs://"])
def test_half_a_url_is_not_the_whole_disk(source: str) -> None:
    with pytest.raises(InputError, match=f"^'{source}' is not a whole URL: check the address"):
        check_sources([source])


def test_a_saved_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    column = [{"bytes": jpeg(number), "path": None} for number in range(3)]
    features = datasets.Features({"image": datasets.Image()})
    saved = datasets.Dataset.from_dict({"image": column}, features=features, split="test")
    saved.save_to_disk(tmp_path / "saved")
    assert contents(tmp_path / "saved") == [jpeg(number) for number in range(3)]
    assert names(tmp_path / "saved") == [f"{tmp_path}/saved/test#{row}" for row in range(3)]


def test_hugging_face_datasets_do_not_own_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(write_folder(tmp_path, {"a.jpg": jpeg(0)}))
    paths = ["a.jpg", "./a.jpg", "", f"{tmp_path}/a.jpg"]
    features = datasets.Features({"image": datasets.Image()})
    column = [{"bytes": None, "path": path} for path in paths]
    found = datasets.Dataset.from_dict({"image": column}, features=features, split="test")
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: found)
    *relative, absolute = next(list_units(["hf:me/paths"])).pictures()
    for row, one in enumerate(relative):
        with pytest.raises(ImageError, match=rf"^hf:me/paths/test#{row}: '.*' is a path in an unknown folder: "):
            one.read()
    with pytest.raises(ImageError, match=r"is outside .*--root"):
        absolute.read()
    *_, absolute = next(list_units(["hf:me/paths"], access=Access((str(tmp_path),)))).pictures()
    assert absolute.read() == f"{tmp_path}/a.jpg"


@pytest.mark.parametrize(
    ("unit", "name", "inputs", "size"),
    [
        (Files(("a.jpg", "s3://b/c.jpg")), "a.jpg", ("a.jpg", "s3://b/c.jpg"), 2),
        (Files(("https://me:secret@host/a.jpg",)), "https://host/a.jpg", ("https://host/a.jpg",), 1),
        (Tar("a.tar"), "a.tar", ("a.tar",), None),
        (Zip("a.zip"), "a.zip", ("a.zip",), None),
        (parquet_files.RowGroup("a.parquet", "image", 2, 17, 5), "a.parquet#17", ("a.parquet",), 5),
        (parquet_files.Damaged("a.parquet", "damaged"), "a.parquet", ("a.parquet",), None),
        (SplitRows("hf:x", "test", "image", 1024, 512), "hf:x/test#1024", ("hf:x/test",), 512),
    ],
)
def test_names_inputs_and_sizes_of_units(unit: Unit, name: str, inputs: tuple[str, ...], size: int | None) -> None:
    assert (unit.name, unit.inputs, unit.size) == (name, inputs, size)


def test_a_list_in_damaged_utf_16_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("a.jpg\n".encode("utf-16") + b"\x00")
    with pytest.raises(InputError, match=r"list\.txt' is damaged UTF-16 .*: save it as UTF-8$"):
        list(read_list(str(tmp_path / "list.txt")))


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz"])
def test_an_empty_image_of_a_tar_fails_alone(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"a.jpg": jpeg(0), "b.jpg": b"", "c.jpg": jpeg(1)}, mode))
    first, empty, last = next(list_units([tmp_path / "a.tar"])).pictures()
    with pytest.raises(ImageError, match=r"a\.tar/b\.jpg: empty \(0 bytes\)"):
        empty.read()
    assert (first.read(), last.read()) == (jpeg(0), jpeg(1))
