"""Bad input: every error is an `ImageError` of one line."""

import contextlib
import functools
import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pnasnet import images
from pnasnet.errors import ImageError

CHELSEA = Path(__file__).parents[1] / "photos" / "chelsea.jpg"
SMALL = images.Limits(pixels=4096, bytes=1 << 20)


@functools.cache
def samples() -> dict[str, bytes]:
    """A small valid file of every kind."""
    picture = Image.open(CHELSEA).convert("RGB").resize((45, 30))
    deep = Image.fromarray(np.arange(45 * 30, dtype=np.uint16).reshape(30, 45) * 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    files: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "JPEG": (picture, {"exif": exif}),
        "JPEG progressive": (picture, {"progressive": True}),
        "JPEG grey": (picture.convert("L"), {}),
        "JPEG cmyk": (picture.convert("CMYK"), {}),
        "PNG": (picture.convert("RGBA"), {"exif": exif}),
        "PNG palette": (picture.quantize(16), {}),
        "PNG deep": (deep, {}),
        "WEBP": (picture, {}),
        "WEBP lossless": (picture, {"lossless": True}),
        "GIF": (picture, {}),
        "BMP": (picture, {}),
        "TIFF": (picture, {}),
        "TIFF deflate": (picture, {"compression": "tiff_deflate"}),
        "TIFF lzw": (deep, {"compression": "tiff_lzw"}),
    }
    encoded = {}
    for name, (source, options) in files.items():
        buffer = io.BytesIO()
        source.save(buffer, name.split()[0], **options)
        encoded[name] = buffer.getvalue()
    return encoded


def message_of(source: images.Source, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        images.decode(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


def decode_or_error(data: bytes) -> None:
    with contextlib.suppress(ImageError):
        pixels = images.decode(data, exif=True, limits=SMALL)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert 0 < pixels.shape[0] * pixels.shape[1] <= SMALL.pixels


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "nothing.jpg"
    path.touch()
    assert message_of(path) == f"{path}: empty (0 bytes): copy or download it again, or leave it out"
    assert message_of(b"").startswith("image bytes: empty (0 bytes)")


@pytest.mark.parametrize("data", [b"hello", b"\0" * 100, b"ustar", b"PK"])
def test_files_that_are_not_images(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "notes.jpg"
    path.write_bytes(data)
    assert message_of(path).startswith(f"{path}: not an image of a known format")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    assert message_of(tmp_path / "gone.jpg") == f"{tmp_path / 'gone.jpg'}: no such file: check the path"
    assert message_of(tmp_path).startswith(f"{tmp_path}: a folder, not an image")
    assert "cannot be read" in message_of(CHELSEA / "inside.jpg")
    assert "cannot be read" in message_of("a\0b.jpg")
    assert "cannot be read" in message_of("a" * 5000)
    assert len(message_of("a" * 100_000)) < 1200
    assert message_of("").startswith("''")


def test_devices_and_pipes_do_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert "not a regular file" in message_of(pipe)
    assert "not a regular file" in message_of("/dev/zero")


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.jpg"
    path.write_bytes(CHELSEA.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything

        def refuse(*_args: object, **_options: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    assert message_of(path).startswith(f"{path}: permission denied")


def test_names_are_printed_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines\udcff.jpg"
    assert "two\\nlines\\udcff.jpg'" in message_of(path)


def test_pil_images_are_named_by_their_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(samples()["PNG"][:500])
    with Image.open(path) as picture:
        assert message_of(picture).startswith(f"{path}: damaged, cut short")


@pytest.mark.parametrize("kind", samples())
def test_a_file_cut_anywhere_is_an_error_or_still_whole(kind: str) -> None:
    data = samples()[kind]
    whole = images.decode(data)
    for length in range(0, len(data), 7 if len(data) > 2000 else 1):
        try:
            pixels = images.decode(data[:length])
        except ImageError:
            continue
        assert not kind.startswith("JPEG")
        assert np.array_equal(pixels, whole)


@pytest.mark.parametrize("fast_dct", [True, False])
def test_a_photo_cut_short_is_an_error(fast_dct: bool) -> None:
    data = CHELSEA.read_bytes()
    for length in (len(data) // 3, len(data) // 2, len(data) - 100, len(data) - 2, len(data) - 1):
        message = message_of(data[:length], fast_dct=fast_dct)
        assert message.startswith("image bytes: damaged, cut short")
        assert "Premature end of JPEG file" in message


def test_a_jpeg_with_stray_bytes_decodes_to_the_same_pixels_unless_it_is_cut() -> None:
    data = CHELSEA.read_bytes()
    expected = images.decode(data)
    padded = data[:-2] + b"\0\0\0" + data[-2:]
    spaced = data[:20] + b"\1\2\3" + data[20:]
    for odd in (padded, spaced, data + b"trailing"):
        assert np.array_equal(images.decode(odd), expected)
    assert "cut short" in message_of(spaced[: len(spaced) // 2])
    assert "cut short" in message_of(padded[:-2])


def test_a_jpeg_with_stray_bytes_before_its_cut_is_an_error() -> None:
    data = samples()["JPEG progressive"]
    scan = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)  # the second one
    odd = data[:scan] + b"\1\2\3" + data[scan:]
    assert np.array_equal(images.decode(odd), images.decode(data))
    assert "truncated" in message_of(odd[: len(odd) * 4 // 5])


def test_jpeg_with_missing_segments_is_an_error() -> None:
    data = CHELSEA.read_bytes()
    middle = len(data) // 2
    assert "premature end of data segment" in message_of(data[:middle] + data[-2:])


def png_claiming(width: int, height: int) -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    chunk = b"IHDR" + header
    rest = b"\0\0\0\1IDATx" + zlib.crc32(b"IDATx").to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + rest


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_bombs_cost_nothing(side: int) -> None:
    limit = images.Limits(pixels=10**7)
    message = message_of(png_claiming(side, side), limits=limit)
    assert message.startswith(f"image bytes: {side} x {side} pixels, more than the limit of 10,000,000")


def test_default_limit_is_tensorflows() -> None:
    assert "more than the limit of 178,956,970" in message_of(png_claiming(13_378, 13_378))
    assert "more than the limit" not in message_of(png_claiming(13_377, 13_377))


def test_limits_hold_for_every_source(tmp_path: Path) -> None:
    tight = images.Limits(pixels=1349)
    sources: list[images.Source] = [Image.new("RGB", (45, 30)), *samples().values()]
    for source in sources:
        assert "1,349" in message_of(source, limits=tight)
        images.decode(source, limits=images.Limits(pixels=1350))
    data = samples()["PNG"]
    path = tmp_path / "image.png"
    path.write_bytes(data)
    for stored in (data, path):
        images.decode(stored, limits=images.Limits(bytes=len(data)))
        assert "bytes" in message_of(stored, limits=images.Limits(bytes=len(data) - 1))


def test_pictures_without_pixels_are_refused() -> None:
    assert "0 x 0 pixels" in message_of(Image.new("RGB", (0, 0)))


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    data = samples()["JPEG progressive"]
    last = data.rindex(b"\xff\xda")
    assert "500 scans" in message_of(data[:last] + data[last:-2] * 600 + data[-2:])


def test_scans_count_where_a_jpeg_is_not_progressive_too() -> None:
    """Scans in the metadata or in a video after the image do not count."""
    data, scan = samples()["JPEG"], b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    assert "500 scans" in message_of(data[:-2] + scan * 600 + data[-2:])
    comment = scan * 600
    within = data[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2) + comment + data[2:] + scan * 600
    np.testing.assert_array_equal(images.decode(within), images.decode(data))


def test_samples_of_unknown_range_are_refused() -> None:
    for mode in ("F", "I"):
        assert "the range of its 32-bit samples is unknown" in message_of(Image.new(mode, (4, 4)))


def test_too_little_memory_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_args: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pnasnet.images.decoding.decode_jpeg", exhaust)
    assert "memory" in message_of(CHELSEA)


def test_pillows_warnings_do_not_leak(recwarn: pytest.WarningsRecorder) -> None:
    picture = Image.new("P", (30, 30))
    picture.info["transparency"] = bytes(5)
    images.decode(picture)  # Pillow warns here
    assert not recwarn.list


FUZZ = settings(max_examples=600)


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([data[:16] for data in samples().values()] + [b""]))
def test_arbitrary_bytes(body: bytes, head: bytes) -> None:
    decode_or_error(head + body)


@FUZZ
@given(
    st.sampled_from(sorted(samples())),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
def test_mutated_files(kind: str, changes: list[tuple[float, int]], in_header: bool) -> None:
    data = bytearray(samples()[kind])
    reach = min(len(data), 200) if in_header else len(data)
    for where, value in changes:
        data[min(int(where * reach), reach - 1)] = value
    decode_or_error(bytes(data))


@FUZZ
@given(st.sampled_from(sorted(samples())), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=20))
def test_spliced_files(kind: str, start: float, end: float, insertion: bytes) -> None:
    data = samples()[kind]
    first, last = sorted((int(start * len(data)), int(end * len(data))))
    decode_or_error(data[:first] + insertion + data[last:])


def test_the_default_limits_are_the_documented_ones() -> None:
    default = images.Limits()
    default.check_bytes(256 << 20, "a")
    default.check_pixels(178_956_970, 1, "a")
    with pytest.raises(ImageError, match=r"^a: "):
        default.check_bytes((256 << 20) + 1, "a")
    with pytest.raises(ImageError, match=r"^a: "):
        default.check_pixels(178_956_971, 1, "a")
