"""Google Cloud Storage, simulated by a local server."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from pnasnet.errors import ImageError, InputError
from pnasnet.extract import list_units
from pnasnet.pictures import find_named, storage
from pnasnet.pictures.storage import read_url

from tests.helpers.corpus import pictures, tar

pytest.importorskip("gcsfs")
FILES = pictures(3)
OBJECTS = {
    **{f"dir/{name}": content for name, content in FILES.items()},
    "dir/notes.txt": b"no picture",
    "shards/0.tar": tar(pictures(3, 10)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Run a server with `OBJECTS` in the bucket `photos`."""
    emulator: Any = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="photos")
    running.start()
    address = f"http://127.0.0.1:{port}"
    for name, content in OBJECTS.items():
        url = f"{address}/upload/storage/v1/b/photos/o?uploadType=media&name={quote(name, safe='')}"
        sent = urllib3.request("POST", url, body=content, headers={"Content-Type": "application/octet-stream"})
        assert sent.status == 200
    yield address
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    storage._open_system.cache_clear()
    yield "gs://photos"
    storage._open_system.cache_clear()


def test_folders_patterns_and_shards(bucket: str) -> None:
    sources = [f"{bucket}/dir", f"{bucket}/shards/*.tar", f"{bucket}/dir/00002.jpg"]
    found = [picture for unit in list_units(sources) for picture in unit.pictures()]
    assert [picture.read() for picture in found] == [*FILES.values(), *pictures(3, 10).values(), FILES["00002.jpg"]]
    assert [picture.name for picture in found[2:4]] == [f"{bucket}/dir/00002.jpg", f"{bucket}/shards/0.tar/00010.jpg"]
    again = {picture.name: picture.read() for picture in find_named([picture.name for picture in found[::-1]])}
    assert again == {picture.name: picture.read() for picture in found}


def test_missing_objects(bucket: str) -> None:
    with pytest.raises(ImageError, match=r"gs://photos/none\.jpg: not found"):
        read_url(f"{bucket}/none.jpg")
    with pytest.raises(InputError, match="contains no images"):
        list(list_units([f"{bucket}/nothing*"]))


def test_without_credentials_nothing_is_printed(bucket: str) -> None:
    """Public buckets need no credentials."""
    program = f"from pnasnet.pictures.storage import read_url; print(len(read_url('{bucket}/dir/00000.jpg')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600)
    assert (done.stdout, done.stderr) == (f"{len(FILES['00000.jpg'])}\n", "")
