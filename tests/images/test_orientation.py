"""The EXIF orientation of files, without decoding them."""

import io
import re

import pytest
from PIL import ExifTags, Image

from pnasnet.images import decode
from pnasnet.images.orientation import orientation


def saved(kind: str, value: int | None) -> bytes:
    exif = Image.Exif()
    if value is not None:
        exif[ExifTags.Base.Orientation] = value
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_is_found(kind: str, value: int) -> None:
    assert orientation(saved(kind, value)) == value
    turned = decode(saved(kind, value), exif=True).shape[:2] == (30, 20)
    assert turned == (value >= 5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_files_without_orientation_are_upright(kind: str) -> None:
    assert orientation(saved(kind, None)) == 1


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_invalid_values_are_upright(value: int) -> None:
    assert orientation(saved("JPEG", value)) == 1


def test_damaged_files_are_upright() -> None:
    whole = saved("JPEG", 6)
    for length in range(0, len(whole), 7):
        assert orientation(whole[:length]) in (1, 6)
    assert orientation(b"no picture") == 1
    assert orientation(memoryview(whole)) == 6


def test_boxes_decide_for_avif_and_heic() -> None:
    """As for other readers of these formats, an orientation in EXIF alone turns nothing, and is not counted."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.ResolutionUnit] = 6
    Image.new("RGB", (30, 20)).save(file, "AVIF", exif=exif)  # which writes an orientation into the boxes alone
    pytest.importorskip("pillow_heif").register_heif_opener()
    only_exif = [
        file.getvalue().replace(b"\x28\x01\x03\0", b"\x12\x01\x03\0").replace(b"\x01\x28\0\x03", b"\x01\x12\0\x03"),
        saved("HEIF", 6),
    ]
    for content in only_exif:
        assert re.search(rb"\x12\x01\x03\0\x01\0\0\0\x06|\x01\x12\0\x03\0\0\0\x01\0\x06", content)
        assert orientation(content) == 1
        assert decode(content, exif=True).shape[:2] == (20, 30)
