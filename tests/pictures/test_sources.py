"""The images in files, folders and patterns."""

import os
import tracemalloc
from pathlib import Path

import pytest

from pnasnet.errors import InputError
from pnasnet.pictures import find_images
from pnasnet.pictures.walking import walk


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "sub/c.webp", "sub/deep/d.gif", ".cache/e.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_folders_are_searched_in_order_without_hidden_files(tree: Path) -> None:
    assert find_images(["photos"]) == ["photos/a.PNG", "photos/b.jpg", "photos/sub/c.webp", "photos/sub/deep/d.gif"]


def test_sources_stay_in_order_and_files_may_have_any_name(tree: Path) -> None:
    assert find_images(["photos/notes.txt", tree / "sub/deep", "photos/b.jpg", "photos/b.jpg"]) == [
        "photos/notes.txt",
        f"{tree}/sub/deep/d.gif",
        "photos/b.jpg",
        "photos/b.jpg",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["photos/b.jpg"]),
        ("photos/[ab].*", ["photos/a.PNG", "photos/b.jpg"]),
        ("photos/s*", ["photos/sub/c.webp", "photos/sub/deep/d.gif"]),
        ("photos/**/*.[wg]*", ["photos/sub/c.webp", "photos/sub/deep/d.gif"]),
        ("photos/**", ["photos/a.PNG", "photos/b.jpg", "photos/sub/c.webp", "photos/sub/deep/d.gif"]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[str]) -> None:
    assert find_images([pattern]) == expected


def test_file_whose_name_looks_like_a_pattern(tree: Path) -> None:
    (tree / "photo[1].jpg").touch()
    assert find_images(["photos/photo[1].jpg"]) == ["photos/photo[1].jpg"]


def test_only_the_names_of_a_large_folder_are_in_memory(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number:08}.jpg").touch()
    tracemalloc.start()
    try:
        found = walk(str(tmp_path), set())
        assert next(found) == f"{tmp_path}/00000000.jpg"
        assert tracemalloc.get_traced_memory()[0] < 100 * 2000
    finally:
        tracemalloc.stop()
    assert len(list(found)) == 1999


def test_links_are_followed_and_loops_end(tree: Path) -> None:
    (tree / "sub/deep/up").symlink_to(tree)
    (tree / "round").symlink_to("round")
    (tree / "z").symlink_to(tree / "sub")
    assert len(find_images(["photos"])) == 4
    outside = tree.parent / "outside"
    outside.mkdir()
    (outside / "f.jpg").touch()
    (tree / "zz").symlink_to(outside)
    assert find_images(["photos"])[-1] == "photos/zz/f.jpg"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jpg", "'nowhere.jpg' does not exist"),
        ("photos/*.tiff", "'photos/[*].tiff' matches no images [(].avif "),
        ("empty", "'empty' contains no images .*.avif .*.jpg.* by a pattern such as 'shards/[*].tar'"),
    ],
)
def test_source_without_pictures_is_an_error(tree: Path, source: str, message: str) -> None:
    (tree.parent / "empty/sub").mkdir(parents=True)
    (tree.parent / "empty/notes.txt").touch()
    with pytest.raises(InputError, match=message):
        find_images(["photos", source])


def test_folder_that_cannot_be_listed_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read 'photos/sub/deep': Permission denied; make it readable"):
        find_images(["photos"])
