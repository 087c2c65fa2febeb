"""Credentials in URLs stay out of everything but a private list, and may change between runs."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.extract import list_units
from pnasnet.extract.folder import FeatureFolder
from pnasnet.extract.inputs import Inputs
from pnasnet.pictures import Unit

from tests.helpers.corpus import MODEL, jpeg, pictures, rows_of, tar
from tests.helpers.extract_runs import StopAfter, run
from tests.helpers.http_answers import Answer, body, http_server

SECRET = "0123secret4567"


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(MODEL, engine="fake")


class _AnyQuery(dict[str, Answer]):
    """Answers by path, whatever the query."""

    def get(self, path: str, default: object = None) -> Answer | None:  # type: ignore[override]
        return super().get(path.partition("?")[0])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Four images, one of them damaged, and a shard."""
    monkeypatch.setattr("pnasnet.pictures.listing.FILES_IN_UNIT", 2)
    served = {f"/{number}.jpg": body(jpeg(number)) for number in range(3)}
    served |= {"/3.jpg": body(b"no picture"), "/a.tar": body(tar(pictures(3, 10)))}
    with http_server(_AnyQuery(served)) as url:
        yield url


def signed(server: str, signature: str) -> list[str]:
    """Return signed URLs with user info."""
    urls = [f"{server}/{name}" for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "a.tar")]
    urls = [url.replace("://", f"://user:{signature}@") for url in urls]
    return [f"{url}?X-Amz-Credential={signature}&X-Amz-Signature={signature}&X-Amz-Expires=60" for url in urls]


def extract(module: Module, output: Path, urls: list[str], **options: object) -> object:
    """Run with sources that are URLs, which no `Path` can hold."""
    return run(module, output, *urls, units=lambda: list_units(urls), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["out", "f.parquet"])
def test_credentials_are_in_no_setting_report_metadata_or_row(
    module: Module, tmp_path: Path, server: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "pnasnet")
    with pytest.raises(KeyboardInterrupt) as caught:
        extract(module, tmp_path / name, signed(server, SECRET), progress=StopAfter(2))
    folder = tmp_path / ("out" if name == "out" else "f.partial")
    assert stat.S_IMODE((folder / "_inputs.jsonl").stat().st_mode) == 0o600
    extract(module, tmp_path / name, signed(server, SECRET))
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "_inputs.jsonl":
            assert SECRET.encode() not in path.read_bytes(), path
    rows = rows_of(tmp_path / name)
    assert [str(row["path"]).removeprefix(f"{server}/") for row in rows[:4]] == [f"{number}.jpg" for number in range(4)]
    assert SECRET not in f"{rows} {pq.read_schema(tmp_path / name) if name != 'out' else ''}"
    assert SECRET not in caplog.text + "".join(caught.value.__notes__)


def test_a_rotated_signature_is_the_same_run(module: Module, tmp_path: Path, server: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(module, tmp_path / "out", signed(server, "expired"), progress=StopAfter(2))
    extract(module, tmp_path / "out", signed(server, SECRET))
    listed = (tmp_path / "out/_inputs.jsonl").read_text()
    assert SECRET in listed  # the new ones are used
    assert "expired" not in listed
    assert stat.S_IMODE((tmp_path / "out/_inputs.jsonl").stat().st_mode) == 0o600
    assert len(rows_of(tmp_path / "out")) == 7
    report = run(module, tmp_path / "out", *signed(server, "third"), units=lambda: list_units(signed(server, "third")))  # type: ignore[arg-type]
    assert (report.kept, report.rows) == (7, 0)


def test_with_add_a_rotated_signature_is_nothing_new(module: Module, tmp_path: Path, server: str) -> None:
    urls = signed(server, "first")
    extract(module, tmp_path / "out", urls)
    again = signed(server, SECRET)
    report = run(module, tmp_path / "out", *again, units=lambda: list_units(again), mode="add")  # type: ignore[arg-type]
    assert (report.rows, report.vanished) == (0, 0)


def test_credentials_are_kept_if_the_sources_have_changed(tmp_path: Path, server: str) -> None:
    folder = FeatureFolder(tmp_path)
    inputs = Inputs(folder)
    inputs.write(list_units(signed(server, "first")))
    before = (tmp_path / "_inputs.jsonl").read_bytes()

    def gone() -> Iterator[Unit]:
        raise InputError("the server is gone")

    for listing in (lambda: list_units(signed(server, SECRET)[1:]), lambda: list_units(["/"]), gone, list):
        inputs.renew(listing)
        assert (tmp_path / "_inputs.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_inputs.jsonl"]
    inputs.renew(lambda: list_units(signed(server, SECRET)))
    assert SECRET in (tmp_path / "_inputs.jsonl").read_text()
