"""Sources behind URLs: HTTP servers that behave and misbehave, and S3 simulated by moto."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pnasnet import Module
from pnasnet.errors import ImageError, InputError
from pnasnet.extract import ExtractOptions, Sources, columns_for, extract_to, list_units
from pnasnet.images import Limits
from pnasnet.pictures import UnreachableError, find_named, storage
from pnasnet.pictures.storage import expand_url, read_url
from pnasnet.support import http

from tests.helpers.corpus import MODEL, jpeg, parquet, pictures, rows_of, tar, zipped
from tests.helpers.http_answers import Answer, Handler, body, http_server

FILES = pictures(5)


def stalling(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"a little, and then no more")
    handler.wfile.flush()
    time.sleep(2)


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        pass


class Flaky:
    """Fails twice, then answers."""

    def __init__(self, content: bytes) -> None:
        self.calls, self._content = 0, content

    def __call__(self, handler: Handler) -> None:
        self.calls += 1
        if self.calls < 3:
            handler.send_error(503)
        else:
            body(self._content)(handler)


def clear() -> None:
    """Close connections and file systems, which keep the settings of their creation."""
    storage._open_system.cache_clear()
    http._pool.cache_clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(http, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(http, "WAITS", (0.01, 0.01))
    clear()
    yield
    clear()


@pytest.mark.usefixtures("impatient")
def test_http_servers_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LIMITS", Limits(bytes=100_000))
    flaky = Flaky(jpeg(1))
    answers: dict[str, Answer] = {
        "/good.jpg": body(jpeg(0)), "/flaky.jpg": flaky, "/stalls.jpg": stalling, "/endless.jpg": endless,
        "/short.jpg": body(jpeg(0), 5000), "/long.jpg": body(jpeg(0), 100), "/empty.jpg": body(b""),
    }  # fmt: skip
    with http_server(answers) as url:
        assert read_url(f"{url}/good.jpg") == jpeg(0)
        assert read_url(f"{url}/flaky.jpg") == jpeg(1)
        assert flaky.calls == 3
        assert read_url(f"{url}/long.jpg") == jpeg(0)[:100]  # the rest is not part of the answer
        for name, kind, message in (
            ("missing.jpg", ImageError, "not found: check the address"),
            ("empty.jpg", ImageError, "empty (0 bytes)"),
            ("endless.jpg", ImageError, "more than the limit of 100,000 bytes"),
            ("stalls.jpg", UnreachableError, "cannot be read"),
            ("short.jpg", UnreachableError, "cannot be read"),
        ):
            with pytest.raises(ImageError) as caught:
                read_url(f"{url}/{name}")
            assert type(caught.value) is kind
            assert str(caught.value).startswith(
                f"{url}/{name}: {message}" if kind is not ImageError else f"{url}/{name}"
            )
            assert message in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_does_not_exist() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnreachableError, match="cannot be read"):
        read_url(f"http://127.0.0.1:{port}/a.jpg")


@pytest.mark.usefixtures("impatient")
def test_all_kinds_of_sources_over_http(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", list(FILES.values()))
    served = {"/a.tar": tar(FILES), "/a.tar.gz": tar(FILES, "w:gz"), "/a.jpg": jpeg(9)}
    with http_server({path: body(content) for path, content in served.items()}) as url:
        units = list(list_units([f"{url}/a.tar", f"{url}/a.jpg", f"{url}/a.tar.gz"]))
        found = [picture for unit in units for picture in unit.pictures()]
        assert [picture.read() for picture in found] == [*FILES.values(), jpeg(9), *FILES.values()]
        assert found[0].name == f"{url}/a.tar/00000.jpg"
        resumed = list(units[0].pictures(3))
        assert [picture.read() for picture in resumed] == list(FILES.values())[3:]


@pytest.mark.usefixtures("impatient")
def test_a_server_that_breaks_off_a_tar(tmp_path: Path) -> None:
    whole = tar(pictures(40))
    module, options = Module(MODEL, engine="fake"), ExtractOptions()
    served = {"/a.tar": body(whole[: len(whole) // 2], len(whole))}
    with http_server(served) as url:
        sources = Sources(lambda: list_units([f"{url}/a.tar"]), ["x"])
        columns = columns_for([module], ["global_pool"], options)
        with pytest.raises(InputError, match=r"1 image or shard could not be reached, .*a\.tar.*: cannot be read"):
            extract_to(tmp_path / "out", sources, columns, options)
        *kept, rest = rows_of(tmp_path / "out")
        assert len(kept) > 10
        assert {row["status"] for row in kept} == {"ok"}
        assert rest["status"] == "unreachable"
        served["/a.tar"] = body(whole)
        report = extract_to(tmp_path / "out", sources, columns, options)
    assert (report.kept, report.rows, report.failed) == (len(kept), 40 - len(kept), 0)
    assert [str(row["path"]).rpartition("/")[2] for row in rows_of(tmp_path / "out")] == list(pictures(40))


@pytest.mark.usefixtures("impatient")
def test_a_server_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    module, options = Module(MODEL, engine="fake"), ExtractOptions(give_up=4, batch_size=2, decoders=1)
    served = {f"/{number}.jpg": body(jpeg(number)) for number in range(10)}
    served |= {f"/{number}.jpg": body(b"", 10) for number in range(10, 40)}
    with http_server(served) as url:
        urls = [f"{url}/{number}.jpg" for number in range(40)]
        columns = columns_for([module], ["global_pool"], options)
        with pytest.raises(InputError, match="4 images or shards in sequence cannot be reached"):
            extract_to(tmp_path / "out", Sources(lambda: list_units(urls), ["x"]), columns, options)
        found = [row["status"] for row in rows_of(tmp_path / "out")]
        assert (found[:10], set(found[10:])) == (["ok"] * 10, {"unreachable"})
        for number in range(10, 40):
            served[f"/{number}.jpg"] = body(jpeg(number))
        extract_to(tmp_path / "out", Sources(lambda: list_units(urls), ["x"]), columns, options)
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok"] * 40


def test_an_unknown_protocol() -> None:
    with pytest.raises(InputError, match=r"gopher:// is not a supported protocol"):
        expand_url("gopher://x/*.jpg")


def test_a_missing_extra_is_named() -> None:
    """In a separate process, since fsspec remembers imports."""
    program = "import sys; sys.modules['s3fs'] = None; from pnasnet.pictures.storage import read_url"
    command = [sys.executable, "-c", f"{program}; read_url('s3://bucket/a.jpg')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stderr.endswith(
        "MissingExtraError: reading s3:// needs s3fs, which is not installed: pip install 'pnasnet[remote]'\n"
    )


def test_a_file_over_http_needs_no_extra() -> None:
    """The server is not asked before the file is read."""
    program = "import sys; sys.modules['aiohttp'] = None; from pnasnet.pictures.storage import expand_url"
    command = [sys.executable, "-c", f"{program}; print(expand_url('http://127.0.0.1:9/a.tar'))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout == "['http://127.0.0.1:9/a.tar']\n", done.stderr


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket on moto's server with the files of the tests."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket="photos")
    objects = {**{f"dir/{name}": content for name, content in FILES.items()}, "dir/notes.txt": b"no picture"}
    objects |= {"shards/0.tar": tar(pictures(3, 10)), "shards/1.tar": tar(pictures(3, 20))}
    objects |= {"a.zip": zipped(FILES), "empty.jpg": b""}
    for key, content in objects.items():
        client.put_object(Bucket="photos", Key=key, Body=content)
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (
        ("ENDPOINT_URL", s3),
        ("ACCESS_KEY_ID", "x"),
        ("SECRET_ACCESS_KEY", "y"),
        ("REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    clear()
    yield "s3://photos"
    clear()


def test_s3(bucket: str, tmp_path: Path) -> None:
    sources = [f"{bucket}/dir", f"{bucket}/shards/*.tar", f"{bucket}/a.zip", f"{bucket}/dir/00003.jpg"]
    found = [picture for unit in list_units(sources) for picture in unit.pictures()]
    expected = {**pictures(3, 10), **pictures(3, 20)}
    assert [picture.read() for picture in found] == [
        *FILES.values(), *expected.values(), *FILES.values(), FILES["00003.jpg"],
    ]  # fmt: skip
    assert [picture.name for picture in found[:6]] == [
        *(f"{bucket}/dir/{name}" for name in FILES), f"{bucket}/shards/0.tar/00010.jpg",
    ]  # fmt: skip
    again = {picture.name: picture.read() for picture in find_named([picture.name for picture in found[::-1]])}
    assert again == {picture.name: picture.read() for picture in found}
    for name, message in (("none.jpg", "not found"), ("empty.jpg", "empty")):
        with pytest.raises(ImageError, match=message):
            read_url(f"{bucket}/{name}")
    with pytest.raises(InputError, match=r"/nothing\*' contains no images: check the address"):
        list(list_units([f"{bucket}/nothing*"]))


def test_a_missing_s3_server_is_reported_with_the_systems_error() -> None:
    with pytest.raises(UnreachableError) as caught:
        read_url("http://127.0.0.1:9/x.jpg")
    message = "http://127.0.0.1:9/x.jpg: cannot be read (Connection refused): check the address, or try again later"
    assert str(caught.value) == message


def test_an_s3_folder_means_its_images_without_shards(bucket: str) -> None:
    """Like a folder on disk."""
    with pytest.raises(
        InputError, match=r"shards' contains no images: name the shards .*, such as 's3://photos/shards/0.tar'"
    ):
        list(list_units([f"{bucket}/shards"]))
    assert all(name.startswith(f"{bucket}/dir/") for unit in list_units([f"{bucket}/dir"]) for name in unit.inputs)
