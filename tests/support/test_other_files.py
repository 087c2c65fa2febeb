"""Files that are no images are named by what they are, whatever their names say."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from pnasnet.errors import ImageError
from pnasnet.images import decode
from pnasnet.support.other_files import FIRST, other_file

from tests.helpers.cli_runs import PHOTOS


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as written:
        written.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("a.jpg", b"")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xef\xbb\xbf\r\n<!DOCTYPE HTML><title>404", "an HTML page"),
        (b"<html><body>", "an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "an SVG drawing"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'{"error": "not found"}', "JSON"),
        (tar(), "a tar"),
        (zipped(), "a zip file"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (b"\x1f\x8b\x08\0", "a file compressed by gzip"),
        (b"%PDF-1.7", "a PDF"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (bytes(FIRST + 1), "only zeros"),
    ],
)
def test_what_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        decode(path)
    first, advice = str(caught.value).removeprefix(f"{path}: ").split(": ", 1)
    assert first.startswith(said)
    assert first.endswith(", not an image")
    assert advice


@pytest.mark.parametrize("photo", sorted(PHOTOS.iterdir()), ids=lambda photo: photo.name)
def test_images_are_none_of_them(photo: Path) -> None:
    assert other_file(photo.read_bytes()[:FIRST]) is None


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\0" * 100, b"{}", b"<p>", b"PK", b"ustar", b"\0\0\0\x18ftypcrx \0\0\0\1"]
)
def test_unknown_files(data: bytes) -> None:
    assert other_file(data) is None
