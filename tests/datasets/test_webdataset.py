"""WebDataset shards."""

import json
import multiprocessing
import pickle
import tarfile
from pathlib import Path

import pytest

from pnasnet import images
from pnasnet.datasets import LabelledImages, open_dataset
from pnasnet.errors import InputError

from tests.helpers.datasets_data import labels, picture, shades, write, write_tar

Files = list[tuple[str | tarfile.TarInfo, bytes]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def open_shard(files: Files) -> LabelledImages:
    write_tar(Path("a.tar"), files)
    return open_dataset("a.tar")


def test_images_and_labels_are_paired(here: Path) -> None:
    data = open_shard(
        [
            ("README.md", b"about"),
            ("b/1.JPG", picture(10, "JPEG")),
            ("b/1.cls", b" 2\n"),
            ("a/1.cls", b"0"),
            ("a/1.json", b'{"label": 5}'),
            ("a/1.seg.png", b"a mask"),
            ("a/1.webp", picture(20, "WEBP")),
            ("a/._1.webp", b"of a Mac"),
            ("a/.png", b"hidden"),
            ("a/2.json", b'{"cls": 1, "label": null}'),
            ("a/2.png", picture(30)),
        ]
    )
    assert data.names == ["a.tar/b/1.JPG", "a.tar/a/1.webp", "a.tar/a/2.png"]
    assert labels(data) == [2, 0, 1]
    assert data.classes == ("0", "1", "2")
    assert shades(data) == [10, 20, 30]
    assert shades(pickle.loads(pickle.dumps(data))) == [10, 20, 30]


def test_names_in_json_are_classes_in_sorted_order() -> None:
    samples = [("zebra", 1), ("cat", 2), ("zebra", 3)]
    files: Files = []
    for name, shade in samples:
        files += [(f"{shade}.json", json.dumps({"class_name": name}).encode()), (f"{shade}.png", picture(shade))]
    data = open_shard(files)
    assert (data.classes, labels(data)) == (("cat", "zebra"), [1, 0, 1])


PAIR: Files = [("1.png", picture(1)), ("1.cls", b"1")]
NAMED: Files = [("1.png", picture(1)), ("1.json", b'{"label": "dog"}')]


@pytest.mark.parametrize(
    ("name", "content"), [("classes.txt", "cat\ndog \nfish\n\n"), ("classes.json", '["cat", "dog", "fish"]')]
)
@pytest.mark.parametrize("files", [PAIR, NAMED])
def test_class_names_in_a_file_beside_the_shards(here: Path, name: str, content: str, files: Files) -> None:
    write(here / name, content)
    data = open_shard(files)
    assert (data.classes, labels(data)) == (("cat", "dog", "fish"), [1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", "cat", "the label of 'a.tar/1.png' is 1, not a number from 0 to 0: correct it"),
        ("classes.txt", "cat\ncat", "'classes.txt' has the class 'cat' twice: class names must be unique"),
        ("classes.txt", b"\xff\xfe", r"'classes.txt' cannot be read \('utf-8' codec .*: correct it, or remove it"),
        ("classes.txt", "", "'classes.txt' is not a list of class names"),
        ("classes.json", '{"0": "cat"}', "'classes.json' is not a list of class names"),
        ("classes.json", '["cat", 7]', "'classes.json' has 7 in place of a class name"),
        ("classes.json", '[["cat"]]', r"'classes.json' has \['cat'\] in place of a class name"),
        ("classes.json", "[" * 100_000, "'classes.json' cannot be read"),
    ],
)
def test_unusable_class_names_are_errors(here: Path, name: str, content: str | bytes, message: str) -> None:
    write(here / name, content)
    with pytest.raises(InputError, match=message):
        open_shard(PAIR)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("7.png", b"")], "sample '7' in 'a.tar' has no label: add a .cls or .json file, or remove the image$"),
        ([("d/7.cls", b"0")], "sample 'd/7' in 'a.tar' has a label but no image: add 'd/7.jpg'"),
        ([("7.png", b""), ("7.JPG", b""), ("7.cls", b"0")], "sample '7' in 'a.tar' has two files for its image"),
        ([("7.png", b""), ("7.cls", b"0"), ("7.CLS", b"0")], "sample '7' in 'a.tar' has two files for its cls"),
        ([("7.png", b""), ("7.cls", b"dog")], r"sample '7' in 'a.tar' has an unreadable label .*: correct '7.cls'"),
        ([("7.png", b""), ("7.cls", b"9" * 5000)], "has an unreadable label .*: correct '7.cls'"),
        ([("7.png", b""), ("7.cls", b"9" * 2**21)], "has a label of 2,097,152 bytes: correct '7.cls'"),
        ([("7.png", b""), ("7.cls", b"-1")], "the label of 'a.tar/7.png' is -1, not a number from 0 to 999999"),
        ([("7.png", b""), ("7.cls", b"1000000")], "is 1000000, not a number"),
        ([("7.png", b""), ("7.json", b"{")], "has an unreadable label .*: correct '7.json'"),
        ([("7.png", b""), ("7.json", b"[" * 100_000)], "has an unreadable label .*: correct '7.json'"),
        (
            [("7.png", b""), ("7.json", b"[1]")],
            "none of the keys label, cls, class_name has .*: correct '7.json'",
        ),
        ([("7.png", b""), ("7.json", b'{"label": true}')], "none of the keys .*: correct '7.json'"),
        (
            [*PAIR, ("7.png", b""), ("7.json", b'{"cls": "a"}')],
            "the label of 'a.tar/7.png' is 'a', but others are numb",
        ),
        ([("notes.txt", b"")], "'a.tar' contains no samples: a sample is a pair of files such as 0.jpg and 0.cls"),
        ([*PAIR, ("1.png", b"")], "'a.tar' contains '1.png' twice"),
    ],
)
def test_incomplete_samples_are_errors(files: Files, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_shard(files)
    assert "\n" not in str(caught.value)


def test_a_link_to_a_file_outside_the_tar_is_not_an_image() -> None:
    link = tarfile.TarInfo("1.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with pytest.raises(InputError, match=r"sample '1' in 'a.tar' has a label but no image"):
        open_shard([(link, b""), ("1.cls", b"0")])


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_compressed_tar_is_an_error_that_says_to_unpack_it(name: str) -> None:
    with tarfile.open(name, "w:gz"):
        pass
    with pytest.raises(InputError, match=f"'{name}' is compressed with gzip, .*: unpack it"):
        open_dataset(name)


def _shade(data: LabelledImages, index: int) -> int:
    return int(images.decode(data.read(index))[0, 0, 0])


def test_worker_processes_read() -> None:
    files: Files = []
    for shade in range(8):
        files += [(f"{shade}.png", picture(shade)), (f"{shade}.cls", b"0")]
    data = open_shard(files)
    assert shades(data) == list(range(8))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(_shade, [(data, index) for index in range(8)]) == list(range(8))
