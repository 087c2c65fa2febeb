"""Ten thousand hostile files: ten thousand rows, no crash, and nothing written where it does not belong."""

import io
import os
import socket
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from PIL import Image

from pnasnet import Module
from pnasnet.extract import ExtractOptions, Sources, columns_for, extract_to, list_units

from tests.helpers.corpus import MODEL, jpeg, rows_of, zipped

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}
COUNT = 10_000


def encoded(kind: str, size: int = 24) -> bytes:
    pixels = np.random.default_rng(len(kind)).integers(0, 256, (size, size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def truncated() -> Iterator[tuple[bytes, bytes]]:
    """Yield files cut at every tenth byte."""
    for suffix, kind in FORMATS.items():
        whole = encoded(kind)
        for length in range(0, len(whole), 10):
            yield f"cut-{length:05d}.{suffix}".encode(), whole[:length]


def bombs() -> Iterator[tuple[bytes, bytes]]:
    """Yield files that claim many more pixels than bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    for side in (20_000, 60_000, 2**31 - 1):
        header = chunk(b"IHDR", pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        body = chunk(b"IDAT", zlib.compress(bytes(10**6), 9)) + chunk(b"IEND", b"")
        yield f"bomb-{side}.png".encode(), b"\x89PNG\r\n\x1a\n" + header + body
    for side in (0, 65_535):
        whole = bytearray(jpeg(0))
        place = whole.index(b"\xff\xc0") + 5
        whole[place : place + 4] = pack(">HH", side, side)
        yield f"bomb-{side}.jpg".encode(), bytes(whole)


def disguised() -> Iterator[tuple[bytes, bytes]]:
    """Yield files that are something else, or several things at once."""
    others = {
        "text": b"not a picture", "html": b"<html><script>alert(1)</script>", "elf": b"\x7fELF" + bytes(100),
        "pickle": b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch) run", "zip": zipped({"a.jpg": jpeg(0)}),
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(64), "pdf": b"%PDF-1.7\n", "none": b"",
    }  # fmt: skip
    for name, content in others.items():
        for suffix in FORMATS:
            yield f"{name}.{suffix}".encode(), content
    for suffix, kind in FORMATS.items():
        yield f"swapped-{suffix}.{'png' if suffix == 'jpg' else 'jpg'}".encode(), encoded(kind)
        yield f"polyglot-{suffix}.{suffix}".encode(), encoded(kind) + zipped({"../evil.jpg": jpeg(1)})


def named() -> Iterator[tuple[bytes, bytes]]:
    """Yield good images with bad names."""
    names = ["über".encode("latin-1"), "写真".encode("shift-jis"), "写真".encode("utf-16-be").replace(b"\0", b"x")]
    names += [
        text.encode() for text in ("📷", "\u202egnp", "e\u0301", "$(touch pwned)", "; rm x", "'\"`", "%2e%2e", " ")
    ]
    names += [
        b"new\nline",
        b"re\rturn",
        b"tab\t",
        b"-rf",
        b"\\..\\up",
        b"\xff\xfe",
        b"\x01\x02\x1b[31m",
        b"CON",
        b"a" * 240,
    ]
    for name in names:
        yield name + b".jpg", jpeg(len(name))


def flipped(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield files with bytes changed at random, and of random bytes alone."""
    random = np.random.default_rng(0)
    wholes = {suffix: encoded(kind) for suffix, kind in FORMATS.items()}
    for number in range(count):
        suffix = list(FORMATS)[number % len(FORMATS)]
        content = np.frombuffer(wholes[suffix], np.uint8).copy()
        for place in random.integers(0, len(content), 1 + number % 20):
            content[place] = random.integers(256)
        whole = random.bytes(50) if number % 50 == 0 else content.tobytes()
        yield f"flip-{number:05d}.{suffix}".encode(), whole


def odd_things(folder: Path) -> int:
    """Create entries that are no files, with names of images; return their number."""
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken-link.jpg").symlink_to(folder / "nowhere")
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # socket names must be short
        listening.bind("socket.jpg")
        os.chdir(here)
    (folder / "loop").symlink_to(folder)
    (folder / "empty-folder.jpg").mkdir()
    return 4


def hostile_tar() -> tuple[bytes, int]:
    """Return a tar with members outside its folder, and their number."""
    stream = io.BytesIO()
    kinds = {"../../evil.jpg": tarfile.REGTYPE, "/tmp/evil.jpg": tarfile.REGTYPE, "dev.jpg": tarfile.BLKTYPE,
             "link.jpg": tarfile.SYMTYPE, "fifo.jpg": tarfile.FIFOTYPE, "n\nl.jpg": tarfile.REGTYPE}  # fmt: skip
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = len(jpeg(0)) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(jpeg(0)) if member.size else None)
    return stream.getvalue(), len(kinds)


@pytest.mark.slow
def test_ten_thousand_hostile_files(tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    files = dict([*truncated(), *bombs(), *disguised(), *named()])
    tar, members = hostile_tar()
    things = odd_things(folder)
    files |= dict(flipped(COUNT - len(files) - things - members))
    for name, content in files.items():
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(content)
    (tmp_path / "evil.tar").write_bytes(tar)
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    options = ExtractOptions(batch_size=8)
    columns = columns_for([Module(MODEL, engine="fake")], ["global_pool"], options)
    sources = Sources(lambda: list_units([folder, tmp_path / "evil.tar"]), ["x"])
    report = extract_to(tmp_path / "out", sources, columns, options)
    rows = rows_of(tmp_path / "out")
    assert report.rows == len(rows) == COUNT
    assert len({row["path"] for row in rows}) == COUNT
    for row in rows:
        assert (row["status"], row["embedding"] is None) in (("ok", False), ("error", True))
        assert row["error"] is None or "\n" not in str(row["error"])
    states = {Path(str(row["path"])).name: row["status"] for row in rows}
    assert all(states[name.decode("utf-8", "backslashreplace").split("/")[-1]] == "ok" for name, _ in named())
    assert {states[name.decode()] for name, _ in bombs()} == {"error"}
    assert {state for name, state in states.items() if name.startswith("cut-") and name.endswith("jpg")} == {"error"}
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before
    assert not Path("/tmp/evil.jpg").exists()
    assert not Path("/tmp/pwned").exists()
    assert not (tmp_path.parent / "evil.jpg").exists()
