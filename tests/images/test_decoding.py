"""Decoding: pixels of every format, bit-exact JPEG, orientation, and results of `load`."""

import io
import threading
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from pnasnet import images
from pnasnet.errors import InputError, UnknownNameError

PHOTOS = Path(__file__).parents[1] / "photos"
CHELSEA = PHOTOS / "chelsea.jpg"


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.open(CHELSEA).convert("RGB").resize((90, 60))


# CRC-32 of the RGB bytes of TensorFlow 2.15, which libjpeg-turbo's fast DCT reproduces.
@pytest.mark.parametrize(
    ("photo", "checksum"),
    [("astronaut", 0xC33B597A), ("chelsea", 0x18720FB8), ("coffee", 0xFB65FF99), ("rocket", 0xFB5AC7A3)],
)
def test_jpeg_is_tensorflows_by_default_and_pillows_on_request(photo: str, checksum: int) -> None:
    path = PHOTOS / f"{photo}.jpg"
    fast = images.decode(path)
    assert fast.dtype == np.uint8
    assert zlib.crc32(fast.tobytes()) == checksum
    accurate = images.decode(path, fast_dct=False)
    assert np.array_equal(accurate, np.asarray(Image.open(path).convert("RGB")))
    difference = np.abs(fast.astype(int) - accurate)
    assert 0.6 < (difference > 0).mean() < 0.67
    assert 6 <= difference.max() <= 8


def test_presets_choose_their_decoder(picture: Image.Image) -> None:
    data = CHELSEA.read_bytes()
    hub, timm = (images.preprocess(data, (96, 96), preset) for preset in ("hub", "timm"))
    assert np.array_equal(hub, images.transform(images.decode(data), (96, 96), "hub"))
    assert np.array_equal(timm, images.transform(images.decode(data, fast_dct=False), (96, 96), "timm"))


def test_paths_bytes_and_pil_images_are_accepted(picture: Image.Image) -> None:
    data = encode(picture, "PNG")
    expected = np.asarray(picture)
    for source in (data, bytearray(data), memoryview(data), picture, Image.open(io.BytesIO(data))):
        assert np.array_equal(images.decode(source), expected)
    assert np.array_equal(images.decode(str(CHELSEA)), images.decode(CHELSEA))


@pytest.mark.parametrize("source", [None, 5, np.zeros((4, 4, 3), np.uint8), [CHELSEA]])
def test_other_types_are_refused(source: Any) -> None:
    with pytest.raises(InputError, match="must be a path, bytes or a PIL image"):
        images.decode(source)


def test_load_returns_the_size_of_the_image() -> None:
    loaded = images.load(CHELSEA, (48, 64), "slim")
    assert (loaded.width, loaded.height) == (451, 300)
    assert loaded.image.shape == (48, 64, 3)
    assert np.array_equal(loaded.image, images.preprocess(CHELSEA, (48, 64), "slim"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        *(("TIFF", {"compression": name}) for name in (None, "tiff_lzw", "tiff_deflate", "packbits")),
    ],
)
def test_lossless_formats_come_back_whole(picture: Image.Image, kind: str, options: dict[str, Any]) -> None:
    assert np.array_equal(images.decode(encode(picture, kind, **options)), np.asarray(picture))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped_and_not_blended(picture: Image.Image, kind: str) -> None:
    transparent = picture.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(picture.size))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert np.array_equal(images.decode(encode(transparent, kind, **options)), np.asarray(picture))


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(picture: Image.Image, mode: str, kind: str) -> None:
    grey = picture.convert(mode)
    expected = np.asarray(grey.convert("L"))[..., None].repeat(3, axis=2)
    assert np.array_equal(images.decode(encode(grey, kind)), expected)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palettes_are_looked_up(picture: Image.Image, kind: str) -> None:
    quantised = picture.quantize(16)
    assert np.array_equal(images.decode(encode(quantised, kind)), np.asarray(quantised.convert("RGB")))


def test_a_palette_with_alpha_keeps_its_colours(picture: Image.Image) -> None:
    quantised = picture.quantize(16)
    data = encode(quantised, "PNG", transparency=bytes(range(0, 160, 10)))
    assert np.array_equal(images.decode(data), np.asarray(quantised.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(kind: str) -> None:
    samples = np.arange(60 * 90, dtype=np.uint16).reshape(60, 90) * 12
    expected = (samples >> 8).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.array_equal(images.decode(encode(Image.fromarray(samples), kind)), expected)


def test_16_bit_colour_keeps_its_high_byte() -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in samples)

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = (5).to_bytes(4, "big") + (6).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert np.array_equal(images.decode(b"\x89PNG\r\n\x1a\n" + body), samples >> 8)


def test_the_first_frame_is_decoded(picture: Image.Image) -> None:
    still = encode(picture, "GIF")
    moving = encode(picture, "GIF", save_all=True, append_images=[picture.rotate(180)])
    assert np.array_equal(images.decode(moving), images.decode(still))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_grey_and_other_jpegs(picture: Image.Image, options: dict[str, Any]) -> None:
    data = encode(picture.convert("L"), "JPEG", **options)
    pixels = images.decode(data, fast_dct=False)
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def from_inks(inks: Any) -> Image.Image:
    """Return the picture of an array [H, W, 4]; some versions of Pillow warn of `fromarray` with a mode."""
    return Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes())


def cmyk_jpeg(picture: Image.Image, kind: str) -> bytes:
    """Return a CMYK JPEG; Adobe's marker means that values are stored inverted."""
    inks = np.asarray(picture.convert("CMYK"))
    if kind == "YCCK":
        return bytes(simplejpeg.encode_jpeg(255 - inks, quality=95, colorspace="CMYK"))
    if kind == "CMYK":
        return encode(from_inks(inks), "JPEG", quality=95)
    data = encode(from_inks(255 - inks), "JPEG", quality=95)
    marker = data.index(b"\xff\xee")
    return data[:marker] + data[marker + 16 :]


@pytest.mark.parametrize("kind", ["YCCK", "CMYK", "CMYK without marker"])
def test_cmyk_jpeg_follows_tensorflows_formula(picture: Image.Image, kind: str) -> None:
    data = cmyk_jpeg(picture, kind)
    colorspace = simplejpeg.decode_jpeg_header(data)[2]
    assert colorspace == kind.split()[0]
    stored = simplejpeg.decode_jpeg(data, "CMYK", fastdct=True).astype(int)
    light = 255 - stored if "without" in kind else stored
    decoded = images.decode(data)
    assert np.array_equal(decoded, light[..., :3] * light[..., 3:] // 255)
    assert np.abs(decoded.astype(int) - np.asarray(picture)).mean() < 4


def test_cmyk_jpeg_is_within_a_level_of_pillow(picture: Image.Image) -> None:
    data = cmyk_jpeg(picture, "CMYK")
    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(images.decode(data, fast_dct=False).astype(int) - pillow).max() <= 1


def test_jpeg_of_uncommon_sampling_falls_back_on_pillow(picture: Image.Image) -> None:
    data = bytearray(encode(Image.new("RGB", (64, 64), (200, 100, 50)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = 0x42  # chroma at a quarter of the columns and half of the rows
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(bytes(data))
    assert images.decode(bytes(data)).shape == (64, 64, 3)


@pytest.mark.parametrize(("marker", "expected"), [(True, (100, 64, 64)), (False, (27, 63, 63))])
def test_cmyk_jpeg_of_uncommon_sampling(marker: bool, expected: tuple[int, int, int]) -> None:
    inks = np.full((64, 64, 4), (55, 127, 127, 127), np.uint8)  # stored inverted: 200, and 128, which takes no bits
    data = bytearray(encode(from_inks(inks), "JPEG", quality=100))
    data[data.index(b"\xff\xc0") + 11] = 0x22
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(bytes(data))
    adobe = data.index(b"\xff\xee")
    decoded = images.decode(bytes(data if marker else data[:adobe] + data[adobe + 16 :]))
    assert np.abs(decoded.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_on_request_only(picture: Image.Image, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture, kind, exif=exif)
    lying = images.decode(data, fast_dct=False)
    assert lying.shape == (60, 90, 3)
    upright = images.decode(data, fast_dct=False, exif=True)
    assert np.array_equal(upright, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB"))))
    assert upright.flags.c_contiguous
    loaded = images.load(data, (8, 8), exif=True)
    assert (loaded.height, loaded.width) == upright.shape[:2]


def test_no_preset_applies_exif_orientation() -> None:
    assert not any(preset.exif for preset in images.PRESETS.values())


def test_each_preset_has_a_variant_with_exif_orientation() -> None:
    assert images.get_preset("slim+exif") == replace(images.PRESETS["slim"], name="slim+exif", exif=True)
    assert images.get_preset("slim+exif").turned(False) == images.PRESETS["slim"]
    with pytest.raises(UnknownNameError, match=r"unknown preset 'exif\+exif'"):
        images.get_preset("exif+exif")


def test_tiff_is_always_upright(picture: Image.Image) -> None:
    data = encode(picture, "TIFF", tiffinfo={0x0112: 6})
    upright = np.asarray(picture.transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(images.decode(data), upright)
    assert np.array_equal(images.decode(data, exif=True), upright)


def test_damaged_exif_does_not_matter(picture: Image.Image) -> None:
    data = encode(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03")
    assert images.decode(data, exif=True).shape == (60, 90, 3)


def test_many_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = CHELSEA.read_bytes()
    expected = images.decode(data)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(i for i in range(20) if not np.array_equal(images.decode(data), expected))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert warnings.filters == before


@pytest.mark.parametrize("name", ["a.jpg", "b.JPEG", "c/d.Png", "e.webp", "f.gif", "g.bmp", "h.tif", "i.tiff"])
def test_suffixes_of_images(name: str) -> None:
    assert images.is_image_path(name)
    assert images.is_image_path(Path(name))


@pytest.mark.parametrize("name", ["a.txt", "jpg", ".jpg", "b.jpg.part", "c", ""])
def test_suffixes_of_other_files(name: str) -> None:
    assert not images.is_image_path(name)
