"""What a features file may have opened: files below known folders, URLs of allowed hosts, and nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import InputError
from pnasnet.pictures import Access
from pnasnet.vectors import open_features
from pnasnet.vectors.opening import Locator, open_thumbnails, recorded_roots

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.http_answers import body, http_server
from tests.helpers.vectors_data import clustered, write_features

PHOTO = (PHOTOS / "coffee.jpg").read_bytes()


def opened(folder: Path, names: list[str], access: Access, trusted: frozenset[str] = frozenset()) -> list[bool]:
    """Return whether each image is opened."""
    features = open_features(write_features(folder / "f.parquet", clustered(len(names)), names))
    return [jpeg is not None for jpeg in open_thumbnails(features, names, access, 32, trusted=trusted)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("photos/a/1.jpg", "photos/2.jpg", "private/3.jpg", "photos-2/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PHOTO)
    return tmp_path


def test_only_below_the_folders_that_the_user_names(folder: Path) -> None:
    names = [f"{folder}/{name}" for name in ("photos/a/1.jpg", "private/3.jpg", "photos-2/4.jpg")]
    names.append(f"{folder}/photos/../private/3.jpg")
    assert opened(folder, names, Access()) == [False] * 4
    assert opened(folder, names, Access((f"{folder}/photos",))) == [True, False, False, False]
    assert opened(folder, names, Access(), trusted=frozenset(names[1:2])) == [False, True, False, False]
    with pytest.raises(InputError, match="nowhere is not a folder: name one with --root"):
        opened(folder, names, Access(("nowhere",)))


def test_below_the_folders_that_the_run_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    features = open_features(write_features(folder / "f.parquet", clustered(1)))
    report = folder / "f.report.json"
    for told in ("", "[]", '{"settings": 3}'):
        report.write_text(told)
        assert recorded_roots(features) == []
    report.write_text(json.dumps({"settings": {"sources": ["photos/*/1.jpg", "https://host/a.tar", "photos-2"]}}))
    assert recorded_roots(features) == ["photos", "photos-2"]
    assert opened(folder, ["photos/a/1.jpg", "private/3.jpg", "photos-2/4.jpg"], Access()) == [True, False, True]


@pytest.mark.parametrize("stated", ["photos/a/1.jpg", "/gone/photos/a/1.jpg", "a/1.jpg", "elsewhere/a/1.jpg"])
def test_a_folder_that_moved(folder: Path, stated: str) -> None:
    shutil.move(folder / "photos", folder / "moved")
    features = open_features(write_features(folder / "f.parquet", clustered(1)))
    assert Locator(features, Access((f"{folder}/moved",)))(stated) == f"{folder}/moved/a/1.jpg"


def test_the_folder_with_the_name_of_the_root_is_the_root(folder: Path) -> None:
    """With several roots, an image directly in a root's own folder belongs to that root, not to the first one."""
    features = open_features(write_features(folder / "f.parquet", clustered(1)))
    locate = Locator(features, Access((f"{folder}/private", f"{folder}/photos")))
    assert locate("/gone/photos/2.jpg") == f"{folder}/photos/2.jpg"
    assert locate("/gone/photos/a/1.jpg") == f"{folder}/photos/a/1.jpg"
    assert locate("/gone/private/3.jpg") == f"{folder}/private/3.jpg"
    assert locate("/gone/2.jpg") == f"{folder}/private/2.jpg"  # in none of them: shown where it would be


def test_a_shard_that_moved(folder: Path) -> None:
    (folder / "photos-2/a.tar").write_bytes(b"")
    features = open_features(write_features(folder / "f.parquet", clustered(1)))
    locate = Locator(features, Access((f"{folder}/private", f"{folder}/photos-2")))
    for name in ("x.jpg", "one/x.jpg", "one/two/x.jpg", "one/two/three/x.jpg"):
        assert locate(f"/gone/photos-2/a.tar/{name}") == f"{folder}/photos-2/a.tar/{name}"
    assert locate("/gone/photos-2/b.tar/x.jpg") == f"{folder}/private/x.jpg"


@pytest.mark.parametrize(
    "name",
    ["file:///etc/passwd", "simplecache::file:///etc/passwd", "zip://x::http://127.0.0.1/a", "http://[", "a\0b",
     "hf:a#1", "", "..", "ftp://127.0.0.1/a.jpg"],
)  # fmt: skip
def test_names_that_lead_nowhere(folder: Path, name: str) -> None:
    features = open_features(write_features(folder / "f.parquet", np.ones((1, 3), np.float32)))
    assert Locator(features, Access((str(folder),), ("127.0.0.1",)))(name) is None


def test_urls_only_of_hosts_that_the_user_allowed(folder: Path) -> None:
    with http_server({"/1.jpg": body(PHOTO)}) as url:
        host = url.removeprefix("http://").partition(":")[0]
        assert opened(folder, [f"{url}/1.jpg"], Access()) == [False]
        assert opened(folder, [f"{url}/1.jpg"], Access(hosts=("example.com",))) == [False]
        assert opened(folder, [f"{url}/1.jpg"], Access(hosts=(host,))) == [True]
