"""Pictures of every kind of source are found again by the names of their rows; each source is opened once."""

import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from pnasnet.errors import ImageError, PnasnetError
from pnasnet.pictures import Picture, find_named, list_units, storage
from pnasnet.pictures import parquet as parquet_files
from pnasnet.pictures import tar as tar_files
from pnasnet.support import http
from pnasnet.support.text import utf8

from tests.helpers.corpus import jpeg, parquet, pictures, tar, write_folder, zipped

SIX = pictures(6)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Make a source of each kind with the same six pictures."""
    made = {"folder": write_folder(tmp_path / "photos.tar", SIX)}  # a misleading name
    for kind in ("tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"):
        made[kind] = tmp_path / f"{kind}.tar.zip" / f"a.{kind.upper() if kind == 'tgz' else kind}"
        made[kind].parent.mkdir()
        made[kind].write_bytes(tar(SIX, f"w:{ {'tgz': 'gz'}.get(kind, kind[4:]) }"))
    made["zip"] = tmp_path / "a.zip"
    made["zip"].write_bytes(zipped(SIX))
    made["parquet"] = parquet(tmp_path / "a.parquet", list(SIX.values()))
    return made


def rows(*sources: Path | str) -> dict[str, bytes]:
    """Return the names of rows that embed writes for sources, and the pictures."""
    found = [picture for unit in list_units(sources) for picture in unit.pictures()]
    return {utf8(picture.name): content(picture) for picture in found}


def content(picture: Picture) -> bytes:
    read = picture.read()
    return Path(read).read_bytes() if isinstance(read, str) else bytes(read)  # type: ignore[arg-type]


def failure(name: str) -> str:
    """Find one picture; return why it cannot be read."""
    (picture,) = find_named([name])
    assert picture.name == name
    with pytest.raises(PnasnetError) as caught:
        content(picture)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_pictures_of_all_kinds_are_found_again(sources: dict[str, Path]) -> None:
    expected = rows(*sources.values())
    assert len(expected) == 48
    mixed = [name for start in range(6) for name in list(expected)[start::6]]
    assert mixed != list(expected)
    found = list(find_named(mixed))
    assert {picture.name: content(picture) for picture in found} == expected
    shards = [picture.name.rpartition("/")[0] for picture in found if "photos.tar" not in picture.name]
    assert len([1 for here, after in pairwise(shards) if here != after]) == 6  # one by one


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip", "parquet"])
def test_some_images_of_a_shard(sources: dict[str, Path], kind: str) -> None:
    expected = rows(sources[kind])
    some = [list(expected)[place] for place in (4, 1, 4)]
    assert {picture.name: content(picture) for picture in find_named(some)} == {name: expected[name] for name in some}


def test_each_shard_is_opened_once(sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def noting(whole: Callable[..., object], path: str, *hosts: object) -> object:
        opened.append(path)
        return whole(path, *hosts)

    for module, name in ((tar_files, "_open"), (parquet_files, "opened"), (zipfile, "ZipFile")):
        monkeypatch.setattr(module, name, partial(noting, getattr(module, name)))
    expected = rows(sources["tar"], sources["zip"], sources["parquet"], sources["tar.gz"])
    opened.clear()
    for picture in find_named(list(expected)[::-1]):
        assert content(picture) == expected[picture.name]
    assert sorted(opened) == sorted(str(sources[kind]) for kind in ("tar", "zip", "parquet", "tar.gz"))


def test_a_stream_is_read_up_to_the_last_wanted_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = pictures(200)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar(many, "w:gz"))
    kept: list[str] = []
    whole = tar_files._StreamedTar.picture

    def noting(self: object, member: object, name: str) -> object:
        kept.append(Path(name).name)
        return whole(self, member, name)  # type: ignore[arg-type]

    monkeypatch.setattr(tar_files._StreamedTar, "picture", noting)
    units = list(list_units([path]))
    found = list(units[0].named({f"{path}/00007.jpg", f"{path}/00003.jpg"}))
    assert [content(picture) for picture in found] == [many["00003.jpg"], many["00007.jpg"]]
    assert kept == ["00003.jpg", "00007.jpg"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_is_read_up_to_the_last_wanted_image(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(tar(pictures(40), f"w:{kind[4:]}"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (unit,) = list_units([path])
    assert [content(picture) for picture in unit.named({f"{path}/00003.jpg"})] == [jpeg(3)]
    with pytest.raises(ImageError):
        list(unit.named({f"{path}/00003.jpg", f"{path}/00039.jpg"}))


def test_row_groups_without_a_wanted_row_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", [jpeg(number) for number in range(12)])
    read: list[int] = []
    whole = parquet_files.RowGroup.pictures_in

    def noting(self: parquet_files.RowGroup, file: object, start: int) -> Iterator[Picture]:
        read.append(self.group)
        return whole(self, file, start)

    monkeypatch.setattr(parquet_files.RowGroup, "pictures_in", noting)
    found = list(find_named([f"{path}#10", f"{path}#1"]))
    assert [content(picture) for picture in found] == [jpeg(1), jpeg(10)]
    assert read == [0, 3]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xe9.jpg")
    folder = tmp_path / os.fsdecode(b"d\xff")
    write_folder(folder, {odd: jpeg(0)})
    (folder / "a.tar").write_bytes(tar({odd: jpeg(2)}))
    expected = rows(folder, folder / "a.tar", write_folder(tmp_path / "plain", {r"\xff.jpg": jpeg(1)}))
    assert f"{tmp_path}/d\\xff/a.tar/\\xff\\xe9.jpg" in expected
    assert {picture.name: content(picture) for picture in find_named(expected)} == expected
    assert content(next(find_named([f"{folder}/{odd}"]))) == jpeg(0)  # the name in the sources


def test_missing_images_fail_with_a_reason_and_others_are_found(sources: dict[str, Path], tmp_path: Path) -> None:
    expected = rows(*sources.values())
    sources["tar.gz"].unlink()
    sources["parquet"].write_bytes(sources["parquet"].read_bytes()[:100])
    sources["zip"].write_bytes(zipped({"00001.jpg": jpeg(1)}))
    whole = sources["tar.xz"].read_bytes()
    sources["tar.xz"].write_bytes(whole[: len(whole) // 2])
    (sources["folder"] / "00000.jpg").unlink()
    good, bad = dict[str, bytes](), dict[str, str]()
    for picture in find_named(expected):
        try:
            good[picture.name] = content(picture)
        except (ImageError, FileNotFoundError) as error:
            bad[picture.name] = str(error)
    assert {**good, **bad}.keys() == expected.keys()
    assert all(good[name] == expected[name] for name in good)
    assert all(f"{sources[kind]}/00000.jpg" in good for kind in ("tar", "tgz", "tar.bz2"))
    assert f"{sources['zip']}/00001.jpg" in good
    assert "no longer in its file" in bad[f"{sources['zip']}/00000.jpg"]
    assert "not a Parquet file, or damaged" in bad[f"{sources['parquet']}#5"]
    assert "ended before the end-of-stream marker" in bad[f"{sources['tar.xz']}/00005.jpg"]
    assert len([name for name in bad if name.startswith(str(sources["tar.gz"]))]) == 6


@pytest.mark.parametrize(
    "name",
    [
        "",
        "#3",
        "a.parquet#" + "9" * 40,
        "x/y#1",
        "\0.jpg",
        "y" * 5000,
        "y" * 5000 + "/z#1",
        "hf:#0",
        "a.zip/",
        "://",
        "s3://",
    ],
)
def test_names_of_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "a.parquet", [jpeg(0)])
    (tmp_path / "a.zip").write_bytes(zipped(SIX))
    (picture,) = find_named([name])
    assert picture.name == name
    with pytest.raises((PnasnetError, OSError, ValueError)):
        content(picture)


def test_a_saved_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    column = [{"bytes": jpeg(number), "path": None} for number in range(5)]
    features = datasets.Features({"image": datasets.Image()})
    saved = datasets.Dataset.from_dict({"image": column}, features=features, split="test")
    saved.save_to_disk(tmp_path / "saved")
    monkeypatch.chdir(tmp_path / "saved")
    for folder in (str(tmp_path / "saved"), "."):
        found = list(find_named([f"{folder}/test#4", f"{folder}/test#1", f"{folder}/test#9", f"{folder}/none#1"]))
        assert [content(picture) for picture in found[:2]] == [jpeg(1), jpeg(4)]
        for picture, message in zip(
            found[2:], ("#9: no longer in its file", "#1: .*no longer has a split 'none'"), strict=True
        ):
            with pytest.raises(ImageError, match=message):
                picture.read()


@pytest.fixture
def urls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record requests to a network that does not answer."""
    asked: list[str] = []

    def refuse(url: str, *arguments: object, **options: object) -> bytes:
        asked.append(url)
        raise TimeoutError("no answer")

    monkeypatch.setattr(storage, "_read", refuse)
    monkeypatch.setattr(http, "get", refuse)
    monkeypatch.setattr(storage, "_system", refuse)
    monkeypatch.setattr(http, "WAITS", (0, 0))
    return asked


def test_a_dead_server_is_asked_a_few_times_only(urls: list[str]) -> None:
    wanted = [f"http://dead/{number}.jpg" for number in range(50)]
    wanted += [f"http://dead/{number}.tar/a.jpg" for number in range(50)] + ["http://other/a.jpg"]
    failures = []
    for picture in find_named(wanted):
        with pytest.raises(ImageError) as caught:
            picture.read()
        failures.append(str(caught.value))
    assert len(failures) == 101
    assert len(urls) == (4 + 1) * (1 + len(http.WAITS))
    assert sum("skipped after 4 failures in sequence of dead" in line for line in failures) == 96


def test_a_server_that_answers_sometimes_is_asked_every_time(urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(url: str, *arguments: object) -> bytes:
        urls.append(url)
        if "good" in url:
            return jpeg(0)
        raise FileNotFoundError(url) if "none" in url else TimeoutError("no answer")

    monkeypatch.setattr(storage, "_read", answer)
    for kind in ("good", "none"):
        urls.clear()
        wanted = [f"http://host/{kind if number % 4 == 3 else 'bad'}{number}.jpg" for number in range(20)]
        for picture in find_named(wanted):
            if kind != "good" or "bad" in picture.name:
                with pytest.raises(ImageError, match="not found" if "none" in picture.name else "no answer"):
                    picture.read()
            else:
                assert picture.read() == jpeg(0)
        assert set(urls) == set(wanted)


def test_shards_in_urls(urls: list[str]) -> None:
    for name, asked in (
        ("s3://a.tar/b/c.jpg", "s3://a.tar/b/c.jpg"),  # the name of a bucket
        ("https://host.zip/c.jpg", "https://host.zip/c.jpg"),
        ("https://host.zip/d/a.tar.gz/b/c.jpg", "https://host.zip/d/a.tar.gz"),
        ("https://host/a.zip/b.tar/c.jpg", "https://host/a.zip"),
        ("gs://b/a.parquet#3", "gs://b/a.parquet"),
        ("https://host/a.jpg#3", "https://host/a.jpg#3"),
    ):
        urls.clear()
        assert "no answer" in failure(name)
        assert set(urls) == {asked}, name


def test_files_need_no_network(urls: list[str], sources: dict[str, Path]) -> None:
    for picture in find_named(rows(*sources.values())):
        content(picture)
    assert urls == []
