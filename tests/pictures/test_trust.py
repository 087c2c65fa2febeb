"""Files and hosts that tables may refer to, and credentials that are never shown."""

import gzip
import re
from base64 import b64encode
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import ImageError
from pnasnet.images import Limits
from pnasnet.pictures import Access, find_named, list_units, storage
from pnasnet.pictures.storage import read_url

from tests.helpers.corpus import jpeg, pictures, tar, write_folder
from tests.helpers.http_answers import Answer, Handler, body, http_server, ranges
from tests.helpers.named_urls import NAMES, outcome


def test_signed_tars_and_user_info() -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(handler: Handler) -> None:
        asked.append((handler.path, handler.headers["Authorization"]))
        body(tar(pictures(2)))(handler)

    path = "/t.tar?X-Amz-Signature=secret&versionId=3"
    with http_server({path: answer}) as url:
        signed = f"{url}{path}#x".replace("http://", "http://me:p%40ss@")
        (unit,) = list_units([signed])
        found = list(unit.pictures())
        assert [picture.read() for picture in found] == list(pictures(2).values())
        assert [picture.name for picture in found] == [f"{url}/t.tar?versionId=3/{name}" for name in pictures(2)]
        assert unit.inputs == (f"{url}/t.tar?versionId=3",)
    assert asked == [(path, "Basic " + b64encode(b"me:p@ss").decode())]


def test_errors_show_no_credentials() -> None:
    with http_server({}) as url, pytest.raises(ImageError) as caught:
        read_url(f"{url.replace('http://', 'http://me:secret@')}/a.jpg?sig=secret")
    assert "secret" not in str(caught.value)


def test_files_by_url_are_decoded(tmp_path: Path) -> None:
    write_folder(tmp_path / "sp ace", {"a%20b#.jpg": jpeg(0)})
    (unit,) = list_units([f"file://{tmp_path}/sp%20ace/a%2520b%23.jpg"])
    (picture,) = unit.pictures()
    assert picture.name == f"{tmp_path}/sp ace/a%20b#.jpg"


def test_content_encoding_is_undone_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded(content: bytes, encoding: str = "gzip") -> object:
        def answer(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.send_header("Content-Encoding", encoding)
            handler.end_headers()
            handler.wfile.write(content)

        return answer

    monkeypatch.setattr(storage, "LIMITS", Limits(bytes=1_000_000))
    whole = gzip.compress(jpeg(0))
    answers = {
        "/a.jpg": encoded(whole), "/a.tar": encoded(gzip.compress(tar(pictures(2)))),
        "/bomb.jpg": encoded(gzip.compress(bytes(10**8))), "/cut.jpg": encoded(whole[:-20]),
        "/br.jpg": encoded(whole, "br"),
    }  # fmt: skip
    monkeypatch.setattr("pnasnet.support.http.WAITS", ())
    with http_server(answers) as url:  # type: ignore[arg-type]
        assert read_url(f"{url}/a.jpg") == jpeg(0)
        assert len([p for unit in list_units([f"{url}/a.tar"]) for p in unit.pictures()]) == 2
        for name, message in (
            ("bomb", "more than the limit"),
            ("cut", "its gzip encoding is cut short"),
            ("br", "encoded as br"),
        ):
            with pytest.raises(ImageError, match=message):
                read_url(f"{url}/{name}.jpg")


def table(path: Path, *cells: str) -> Path:
    pq.write_table(pa.table({"image": list(cells)}), path)
    return path


def outcomes(path: Path, access: Access = Access()) -> list[bytes | str]:  # noqa: B008
    found: list[bytes | str] = []
    for unit in list_units([path], access=access):
        for picture in unit.pictures():
            try:
                read = picture.read()
                found.append(Path(read).read_bytes() if isinstance(read, str) else bytes(read))  # type: ignore[arg-type]
            except ImageError as error:
                found.append(str(error))
    return found


def test_paths_in_a_table_stay_below_its_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", {"a.jpg": jpeg(0)})
    write_folder(tmp_path / "out", {"b.jpg": jpeg(1)})
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    outside = f"{tmp_path}/out/b.jpg"
    cells = ["a.jpg", f"{tmp_path}/in/a.jpg", "link/b.jpg", outside, "../out/b.jpg", f"file://{outside}", "/etc/passwd"]
    path = table(tmp_path / "in" / "t.parquet", *cells)
    found = outcomes(path)
    assert found[:3] == [jpeg(0), jpeg(0), jpeg(1)]
    assert all("is outside" in str(one) and "--root" in str(one) for one in found[3:])
    path = table(tmp_path / "in" / "t.parquet", "in/a.jpg", outside, f"file://{outside}", "/etc/passwd")
    found = outcomes(path, Access((str(tmp_path),)))
    assert found[:3] == [jpeg(0), jpeg(1), jpeg(1)]
    assert "is outside" in str(found[3])


def test_urls_in_a_table_lead_to_allowed_hosts_only(tmp_path: Path) -> None:
    def redirect(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"http://localhost:{handler.server.server_address[1]}/a.jpg")  # type: ignore[index]
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with http_server({"/a.jpg": body(jpeg(0)), "/r.jpg": redirect}) as url:
        named = url.replace("127.0.0.1", "localhost")
        path = table(tmp_path / "t.parquet", f"{url}/a.jpg", f"{named}/a.jpg", f"{url}/r.jpg", "gopher://x/a.jpg")
        assert all("is not allowed: add --allow-url-host" in str(one) for one in outcomes(path))
        found = outcomes(path, Access(hosts=("127.0.0.1",)))
        assert found[0] == jpeg(0)
        assert "'localhost' is not allowed" in str(found[2])
        found = outcomes(path, Access(hosts=("LocalHost",)))  # in any case; its address is not public
        assert "127.0.0.1 is not public" in str(found[1]) or "::1 is not public" in str(found[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_late", [False, True])
def test_names_of_urls_lead_to_allowed_hosts_only(shards: dict[str, bytes], name: str, is_late: bool) -> None:
    """Also if a server redirects only what follows its first answer."""
    asked = list[str]()

    def redirect(handler: Handler) -> None:
        if is_late and handler.command == "HEAD":
            ranges(shards[Path(handler.path).suffix])(handler)
            return
        handler.send_response(302)
        host = f"http://localhost:{handler.server.server_address[1]}"  # type: ignore[index]
        handler.send_header("Location", f"{host}{handler.path.replace('r.', 'a.')}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def target(handler: Handler) -> None:
        asked.append(handler.path)
        ranges(shards[Path(handler.path).suffix])(handler)

    answers: dict[str, Answer] = {f"/a{kind}": target for kind in shards}
    answers |= {f"/r{kind}": redirect for kind in shards}
    with http_server(answers) as url:
        by_number, by_name = f"{url}/{name}", f"{url}/{name}".replace("127.0.0.1", "localhost")
        refused = str(outcome(by_number, "127.0.0.1"))
        assert is_late or "'localhost' is not allowed: allow it with --allow-url-host, or" in refused
        refused = str(outcome(by_name, "localhost"))
        assert re.search(r"(127\.0\.0\.1|::1) is not public: .*: allow it with", refused)
        assert not asked
        assert outcome(by_name, "localhost", "127.0.0.1") == jpeg(1)
        assert outcome(by_name, "localhost", trusted=frozenset([by_name])) == jpeg(1)
        assert asked


def test_names_lead_below_a_root_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", {"a.jpg": jpeg(0)})
    (tmp_path / "in" / "a.tar").write_bytes(tar(pictures(2)))
    names = ["a.jpg", "a.tar/00001.jpg", "/etc/passwd", "https://host/a.jpg"]
    found = {picture.name: picture for picture in find_named(names, Access((str(tmp_path / "in"),)))}
    assert found.keys() == set(names)
    assert Path(str(found["a.jpg"].read())).read_bytes() == jpeg(0)
    assert found["a.tar/00001.jpg"].read() == jpeg(1)
    for name, message in (("/etc/passwd", "is outside"), ("https://host/a.jpg", "is not allowed")):
        with pytest.raises(ImageError, match=message):
            found[name].read()
