"""Skipped files are counted by kind, in folders, folders behind URLs, tars and zip files alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import fsspec
import pytest

from pnasnet.errors import InputError
from pnasnet.extract.feed import feed
from pnasnet.pictures import PassedOver, Picture, Unit, UnreachableError, list_units

from tests.helpers.corpus import jpeg, pictures, tar, write_folder, zipped
from tests.helpers.http_answers import body, http_server

FILES = {
    **pictures(2), "IMG_0001": jpeg(0), "b.raw": jpeg(1), "c.txt": b"x", "d.TXT": b"y",
    ".hidden.txt": b"z", "__MACOSX/._a.txt": b"z",
}  # fmt: skip
KINDS = "1 .raw (JPEG inside, such as {0}/b.raw: rename them), 2 .txt"
LINE = f"1 without suffix (JPEG inside, such as {{0}}/IMG_0001: rename them), {KINDS}"


def skipped(*sources: Path | str) -> tuple[str, list[str]]:
    """Return the line about skipped files, and the names of the images."""
    passed_over = PassedOver()
    units = list(list_units(sources, passed_over=passed_over))
    names = [picture.name for picture, _ in feed(enumerate(units), {}, passed_over=passed_over)]
    return str(passed_over), names


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_archives(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(zipped(FILES) if name == "a.zip" else tar(FILES, "w:gz" if name.endswith("gz") else "w"))
    line, names = skipped(path)
    assert line == f"skipped 4 files without the suffix of an image format: {LINE.format(path)}"
    assert names == [f"{path}/{image}" for image in pictures(2)]


def test_archives_behind_a_url() -> None:
    with http_server({"/a.tar": body(tar(FILES))}) as url:
        assert skipped(f"{url}/a.tar")[0].endswith(LINE.format(f"{url}/a.tar"))
    fsspec.filesystem("memory").pipe_file("/a.zip", zipped(FILES))
    # Each look into a member of a zip file would be a request.
    assert skipped("memory://a.zip")[0].endswith(": 2 .txt, 1 without suffix, 1 .raw")


def test_folders_behind_urls() -> None:
    system = fsspec.filesystem("memory")
    for name, content in {**FILES, ".deep/x.jpg": jpeg(3), "t.tar": tar(pictures(1))}.items():
        system.pipe_file(f"/.photos/{name}", content)
    line, names = skipped("memory:///.photos/")
    assert names == [f"memory:///.photos/{image}" for image in pictures(2)]
    assert line.endswith(
        "skipped 5 files without the suffix of an image format: 2 .txt, 1 without suffix, 1 .raw, 1 .tar"
    )
    system.pipe_file("/.photos/deeper/y.jpg", jpeg(4))
    line, names = skipped("memory:///.photos/*")
    assert line.endswith("4 files without the suffix of an image format: 2 .txt, 1 without suffix, 1 .raw")
    assert names == [*(f"memory:///.photos/{image}" for image in pictures(2)), "memory:///.photos/t.tar/00000.jpg"]
    assert skipped("memory:///.photos/.d*/*")[1] == ["memory:///.photos/.deep/x.jpg"]
    with pytest.raises(InputError, match=r"'memory:///.photos/\*.txt' contains no images: check the address"):
        skipped("memory:///.photos/*.txt")


def test_a_folder_and_an_archive_are_counted_together(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"a.jpg": jpeg(0), "a.txt": b"x", "b.md": b"x"})
    (tmp_path / "a.zip").write_bytes(zipped({"a.txt": b"x", "b.txt": jpeg(1)}))
    line, names = skipped(folder, tmp_path / "a.zip")
    assert line.endswith(f": 3 .txt (JPEG inside some, such as {tmp_path}/a.zip/b.txt: rename those), 1 .md")
    assert names == [f"{folder}/a.jpg", f"{tmp_path}/a.zip"]  # the row of an archive without images


@pytest.mark.parametrize("first", ["a", "z"])
def test_a_drawing_beside_a_photo_of_its_suffix_is_not_called_one(tmp_path: Path, first: str) -> None:
    photo, drawing = ("a.svg", "z.svg") if first == "a" else ("z.svg", "a.svg")
    folder = write_folder(tmp_path / "photos", {"a.jpg": jpeg(0), photo: jpeg(1), drawing: b"<svg/>", "empty.raw": b""})
    line = f"2 .svg (JPEG inside some, such as {folder}/{photo}: rename those), 1 .raw"
    assert skipped(folder)[0].endswith(f": {line}")


@pytest.mark.parametrize("pattern", ["photos/**", "photos/*"])
def test_a_pattern_that_matches_folders_and_their_files_finds_each_once(tmp_path: Path, pattern: str) -> None:
    folder = write_folder(tmp_path / "photos", {"b.jpg": jpeg(0), "c.txt": b"x", "t.tar": tar(pictures(1))})
    write_folder(folder / "x.tar", {"d.jpg": jpeg(1), "e.txt": b"x"})  # a folder, in spite of its name
    line, names = skipped(f"{tmp_path}/{pattern}")
    assert names == [f"{folder}/{name}" for name in ("b.jpg", "t.tar/00000.jpg", "x.tar/d.jpg")]
    assert line.endswith("skipped 2 files without the suffix of an image format: 2 .txt")


def test_only_the_first_files_of_a_suffix_are_looked_into() -> None:
    head = Mock(return_value=b"")
    passed_over = PassedOver()
    for number in range(40):
        passed_over.add(f"{number}.txt", head)
    assert (passed_over.count, head.call_count) == (40, 16)


@dataclass(frozen=True)
class Breaking(Unit):
    """Skips a file before each picture, and breaks off after each until asked for the last."""

    kind = "breaking"
    name = "breaking"

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        assert passed_over is not None
        for number in range(3):
            passed_over.add(f"{number}.txt")
            if number >= start:
                yield Picture(str(number), lambda: b"")
                if number < 2:
                    raise UnreachableError("broken off")


def test_files_are_counted_once_although_a_server_breaks_off() -> None:
    passed_over = PassedOver()
    assert len(list(feed([(0, Breaking())], {}, passed_over=passed_over))) == 3
    assert passed_over.count == 3
