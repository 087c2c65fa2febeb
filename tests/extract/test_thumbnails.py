"""Thumbnails of what rows name: of every kind of source, in order, and a line for those that are gone."""

import io
import logging
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from pnasnet.extract import list_units, pictures_of
from pnasnet.extract.thumbnails import thumbnails
from pnasnet.images import Limits
from pnasnet.pictures import tar as tar_files
from pnasnet.pictures import tar_members
from pnasnet.reports.pages import small_jpeg
from pnasnet.support import http

from tests.helpers.corpus import jpeg, parquet, pictures, tar, write_folder, zipped
from tests.helpers.http_answers import body, http_server

FILES = pictures(4)


def rows(*sources: Path | str) -> list[str]:
    return [picture.name for picture in pictures_of(list_units(sources))]


def test_every_kind_of_source_in_the_order_of_the_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.tar").write_bytes(tar(FILES))
    (tmp_path / "a.zip").write_bytes(zipped(FILES))
    (tmp_path / "a.tar.gz").write_bytes(tar(FILES, "w:gz"))
    parquet(tmp_path / "a.parquet", list(FILES.values()))
    write_folder(tmp_path / "photos", FILES)
    with http_server({"/a.jpg": body(jpeg(9)), "/a.tar": body(tar(FILES))}) as url:
        names = rows(f"{tmp_path}/*", f"{url}/a.jpg", f"{url}/a.tar")
        assert len(names) == 25
        expected = [small_jpeg(content, 16) for content in [*list(FILES.values()) * 5, jpeg(9), *FILES.values()]]
        order = [place * 7 % 25 for place in range(25)] * 2  # shuffled, and each twice
        found = list(thumbnails([names[place] for place in order], 16))
    assert [each and each.jpeg for each in found] == [expected[place] for place in order]
    assert Image.open(io.BytesIO(found[0].jpeg if found[0] else b"")).size == (16, 16)
    assert caplog.records == []


def test_missing_images_are_counted_with_reasons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "photos", {**FILES, "no.jpg": b"not a picture", "empty.jpg": b""})
    (tmp_path / "a.tar").write_bytes(tar({**FILES, "5.jpg": b"no"}))
    parquet(tmp_path / "a.parquet", [jpeg(0), None])
    names = [*rows(folder, tmp_path / "a.tar", tmp_path / "a.parquet"), *(f"{folder}/gone{n}.jpg" for n in range(3))]
    (tmp_path / "a.tar").write_bytes(tar({"00001.jpg": jpeg(1), "5.jpg": b"no"}))
    found = list(thumbnails([*names, names[-1]], side=16))
    assert "".join(".X"[jpeg is not None] for jpeg in found) == "XXXX...X...X....."
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("pnasnet.extract.thumbnails", logging.WARNING)
    assert record.getMessage() == (
        f"11 of 17 images could not be opened: 4 such as {folder}/gone0.jpg: no such file: check the path; "
        f"3 such as {tmp_path}/a.tar/00000.jpg: no longer in its file, which was changed or replaced; "
        f"2 such as {folder}/no.jpg: not an image of a known format (JPEG, PNG, WebP, GIF, "
        "BMP, TIFF, AVIF, HEIC, JPEG XL, JPEG 2000): convert it, or leave it out; "
        "2 for other reasons"
    )


def test_stated_sizes_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"a.jpg": jpeg(0, 400), "b.jpg": jpeg(1)}))
    monkeypatch.setattr(tar_members, "LIMITS", Limits(bytes=2000))
    assert [jpeg is None for jpeg in thumbnails(rows(tmp_path / "a.tar"), 16)] == [True, False]
    assert (
        f"1 of 2 images could not be opened: 1 such as {tmp_path}/a.tar/a.jpg: more than the limit of 2,000"
        in caplog.text
    )


def test_shards_are_opened_once_and_images_in_order_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    whole = tar_files._open

    def noting(path: str, hosts: tuple[str, ...] | None) -> object:
        opened.append(path)
        return whole(path, hosts)

    monkeypatch.setattr(tar_files, "_open", noting)
    for number in range(3):
        (tmp_path / f"{number}.tar.gz").write_bytes(tar(pictures(60, 100 * number), "w:gz"))
    shards = [f"{tmp_path}/{number}.tar.gz" for number in range(3)]
    names = rows(*shards)
    opened.clear()
    done: list[int] = []
    found = thumbnails(names, 16, advance=done.append)
    first = next(found)
    assert first is not None
    assert first.jpeg == small_jpeg(jpeg(0), 16)
    assert opened == shards[:1]
    assert len(list(found)) == 179
    assert opened == shards
    assert done == [1] * 180
    opened.clear()
    assert None not in list(thumbnails([name for start in range(60) for name in names[start::60]], 16))
    assert opened == shards


def test_an_unreachable_server_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "WAITS", (0, 0))
    with http_server({}) as url:
        pass
    assert list(thumbnails([f"{url}/{number}.jpg" for number in range(500)], 16)) == [None] * 500
    assert "500 of 500 images could not be opened: " in caplog.text
    assert f": skipped after 4 failures in sequence of {url[7:]}" in caplog.text


def test_nothing_is_logged_if_the_caller_stops_early(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = thumbnails([f"{tmp_path}/{number}.jpg" for number in range(100)], 16)
    assert next(found) is None
    found.close()
    assert caplog.records == []
    assert list(thumbnails([], 16)) == []


@pytest.mark.parametrize(("exif", "size"), [(False, (16, 8)), (True, (8, 16))])
def test_thumbnails_show_what_the_network_saw(tmp_path: Path, exif: bool, size: tuple[int, int]) -> None:
    tag = Image.Exif()
    tag[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (64, 32)).save(tmp_path / "turned.jpg", exif=tag)
    (found,) = thumbnails([f"{tmp_path}/turned.jpg"], 16, exif=exif)
    assert Image.open(io.BytesIO(found.jpeg if found else b"")).size == size
