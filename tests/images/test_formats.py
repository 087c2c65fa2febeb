"""Formats recognised by content, damaged metadata, brightness at every bit depth, and the budget of pixels."""

import importlib
import io
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pnasnet import images
from pnasnet.errors import ImageError
from pnasnet.images import decoding
from pnasnet.images.budget import PixelBudget
from pnasnet.images.formats import WEBP

CHELSEA = Path(__file__).parents[1] / "photos" / "chelsea.jpg"
GOLDEN = Path(__file__).parents[1] / "golden"


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "name", "plugin"),
    [
        ("AVIF", "AVIF", None),
        ("JPEG2000", "JPEG 2000", None),
        ("HEIF", "HEIC", "pillow_heif"),
        ("JXL", "JPEG XL", "pillow_jxl"),
    ],
)
def test_newer_formats_are_recognised_by_content(tmp_path: Path, kind: str, name: str, plugin: str | None) -> None:
    if plugin:
        library = pytest.importorskip(plugin)
        if plugin == "pillow_heif":
            library.register_heif_opener()
    picture = Image.open(CHELSEA).convert("RGB").resize((64, 48))
    data = saved(picture, kind, quality=95) if kind != "JPEG2000" else saved(picture, kind)
    found = images.format_of(data[:32])
    assert found is not None
    assert found.name == name
    assert set(found.suffixes) <= images.EXTENSIONS
    path = tmp_path / "photo.txt"
    path.write_bytes(data)
    pixels = images.decode(path)
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - np.asarray(picture)).mean() < 6


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    for head, extra in ((b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"), (b"\xff\x0a" + bytes(40), "jxl")):
        with pytest.raises(ImageError, match=rf"^image bytes: reading .* pip install 'pnasnet\[{extra}\]'"):
            images.decode(head)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


@pytest.mark.parametrize(
    "damaged",
    [
        segment(0xE2, b"ICC_PROFILE\0\x09\x02" + b"x" * 50),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"MPF\0" + b"\xff" * 40),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<broken"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04" + b"\xff" * 20),
        segment(0xFE, b""),
    ],
)
def test_damaged_metadata_of_a_jpeg_does_not_matter(damaged: bytes) -> None:
    whole = CHELSEA.read_bytes()
    assert np.array_equal(images.decode(whole[:2] + damaged + whole[2:]), images.decode(whole))


def chunk(kind: bytes, content: bytes, *, good: bool = True) -> bytes:
    check = zlib.crc32(kind + content) ^ (not good)
    return len(content).to_bytes(4) + kind + content + check.to_bytes(4)


@pytest.mark.parametrize(
    "damaged",
    [
        chunk(b"iCCP", b"name\0\0not zlib"),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(b"x" * 100), good=False),
        chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(70_000_000))),
        chunk(b"tEXt", b"key\0text", good=False),
        chunk(b"eXIf", b"MM\0*", good=False),
    ],
)
def test_damaged_metadata_of_a_png_does_not_matter(damaged: bytes) -> None:
    whole = saved(Image.open(CHELSEA).convert("RGB").resize((40, 30)), "PNG")
    assert np.array_equal(images.decode(whole[:33] + damaged + whole[33:]), images.decode(whole))
    start = whole.index(b"IDAT")
    with pytest.raises(ImageError):
        images.decode(whole[: start + 8] + b"\xff\xff" + whole[start + 10 :])


@pytest.mark.parametrize("size", [100, 50_000_000])
def test_a_jpeg_of_zeros_is_refused_at_once(size: int) -> None:
    start = time.process_time()
    with pytest.raises(ImageError, match="no image data after the header"):
        images.decode(b"\xff\xd8\xff" + bytes(size))
    assert time.process_time() - start < 1


def grey_png(bits: int, value: int) -> bytes:
    """Return a PNG of 8 x 1 grey pixels of one value."""
    row = b"\0" + int("".join(f"{value:0{bits}b}" for _ in range(8)), 2).to_bytes(bits)
    header = struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


def grey_tiff(bits: int, value: int, photometric: int) -> bytes:
    """Return an uncompressed TIFF of 8 x 1 grey pixels of one value."""
    row = int("".join(f"{value:0{bits}b}" for _ in range(8)), 2).to_bytes(bits)
    if bits == 16:
        row = struct.pack("<8H", *[value] * 8)
    tags = [
        (256, 8),
        (257, 1),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8 + 2 + 9 * 12 + 4),
        (277, 1),
        (278, 1),
    ]
    tags.append((279, len(row)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + row


@pytest.mark.parametrize("share", [0, 1, 0.5])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("kind", ["png", "tiff", "tiff inverted"])
def test_brightness_at_every_depth(kind: str, bits: int, share: float) -> None:
    if kind == "png" and bits == 12:
        pytest.skip("PNG has no such depth")
    if kind == "tiff inverted" and bits == 12:
        pytest.skip("Pillow does not read it")
    most = 2**bits - 1
    value = round(most * share)
    data = grey_png(bits, value) if kind == "png" else grey_tiff(bits, value, 0 if "inverted" in kind else 1)
    stated = value / most if "inverted" not in kind else 1 - value / most
    assert np.abs(images.decode(data).astype(float) - 255 * stated).max() <= 1


def colour_tiff(samples: np.ndarray, order: str) -> bytes:
    """Return an uncompressed RGB TIFF of 16-bit samples [H, W, 3]."""
    height, width, _ = samples.shape
    data = samples.astype(f"{order}u2").tobytes()
    start = 8 + 2 + 10 * 12 + 4
    tags = [(256, width), (257, height), (258, start), (259, 1), (262, 2), (273, start + 6), (277, 3), (278, height)]
    entries = b""
    for tag, value in [*tags, (279, len(data)), (284, 1)]:
        entries += struct.pack(f"{order}HHII", tag, 4 if tag != 258 else 3, 3 if tag == 258 else 1, value)
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, 10)
    return head + entries + bytes(4) + struct.pack(f"{order}3H", 16, 16, 16) + data


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_tiff_keeps_its_high_byte(order: str) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    assert np.array_equal(images.decode(colour_tiff(samples, order)), samples >> 8)


@pytest.mark.parametrize("bits", [10, 12])
def test_brightness_of_deep_avif(bits: int) -> None:
    """The files have four grey columns of 8 pixels: 0, 1/4, 1/2 and all of the largest value."""
    pixels = images.decode(GOLDEN / f"grey_steps_{bits}_bit.avif")
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels.astype(float) - np.repeat([0, 63.75, 127.5, 255], 8)[:, None]).max() <= 1


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("mode", ["RGB;16", "L;16"])
@pytest.mark.parametrize("bits", [10, 12])
def test_brightness_of_deep_heic(monkeypatch: pytest.MonkeyPatch, bits: int, mode: str, share: float) -> None:
    heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    samples = np.full((32, 32, 3) if mode == "RGB;16" else (32, 32), round(65535 * share), np.uint16)
    file = io.BytesIO()
    heif.encode(mode, (32, 32), samples.tobytes(), file, quality=-1)
    assert heif.open_heif(file, convert_hdr_to_8bit=False).info["bit_depth"] == bits
    assert np.abs(images.decode(file.getvalue()).astype(float) - 255 * share).max() <= 1


def test_all_decoders_share_one_budget() -> None:
    budget, most, lock = PixelBudget(100), 0, threading.Lock()
    held: list[int] = []
    together = threading.Barrier(48)

    def work(pixels: int) -> None:
        nonlocal most
        together.wait(60)
        with budget.scope():
            budget.take(pixels)
            budget.take(pixels)  # the same image, decoded in another way
            with lock:
                held.append(pixels)
                most = max(most, sum(held) if len(held) > 1 else 0)
            time.sleep(0.002)
            with lock:
                held.remove(pixels)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in [40, 60, 100, 1, 250, 30] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most <= 100
    assert budget._used == 0


def test_decode_takes_from_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(decoding.BUDGET, "take", taken.append)
    images.preprocess(CHELSEA, (32, 32))
    height, width, _ = images.decode(CHELSEA).shape
    assert taken == [width * height] * 2


def test_libtiff_does_not_write_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(saved(Image.open(CHELSEA).convert("RGB"), "TIFF", compression="tiff_lzw"))
    data[200:400] = b"\xff" * 200
    with pytest.raises(ImageError):
        images.decode(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_pillow_does_not_write_to_the_terminal() -> None:
    data = saved(Image.new("RGB", (8, 8)), "TIFF")
    three = struct.pack("<HHIHH", 277, 3, 1, 3, 0)  # samples per pixel
    assert three in data
    many = data.replace(three, struct.pack("<HHIHH", 277, 3, 1, 65535, 0))
    code = "import sys, pnasnet as p\ntry: p.images.decode(sys.stdin.buffer.read())\nexcept p.PnasnetError: print('no')"
    done = subprocess.run([sys.executable, "-c", code], input=many, capture_output=True, timeout=120, check=True)
    assert (done.stdout.strip(), done.stderr) == (b"no", b"")


def test_webp_is_recognised_among_other_riff_files() -> None:
    data = saved(Image.new("RGB", (8, 8)), "WEBP")
    assert images.format_of(data[:32]) is WEBP
    assert images.format_of(data[:8] + b"WAVE" + data[12:32]) is None
