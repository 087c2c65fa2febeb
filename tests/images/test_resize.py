"""Resizes and presets against golden outputs of TensorFlow and against timm's arithmetic."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pnasnet import images
from pnasnet.errors import ImageError, InputError, UnknownNameError

PHOTOS = sorted((Path(__file__).parents[1] / "photos").glob("*.jpg"))
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "preprocess.npz")


def pillow_pixels(path: Path) -> np.ndarray:
    """The pixels of which the goldens are the results."""
    return np.asarray(Image.open(path).convert("RGB"))


def random_pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize(("preset", "side"), [("hub", 331), ("hub", 224), ("slim", 331)])
def test_equals_tensorflow(photo: Path, preset: str, side: int) -> None:
    result = images.transform(pillow_pixels(photo), (side, side), preset)
    key = f"{photo.stem}/{preset}_{side}"
    assert result.dtype == np.float32
    assert result.shape == (side, side, 3)
    np.testing.assert_allclose(result[::7, ::7], GOLDEN[key], rtol=0, atol=1e-6)
    # The golden means were summed in float32, hence the looser bound.
    np.testing.assert_allclose(result.mean((0, 1), dtype=np.float64), GOLDEN[f"{key}/mean"], rtol=0, atol=3e-5)


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_central_crop_has_tensorflows_shape(photo: Path) -> None:
    cropped = images.central_crop(pillow_pixels(photo), 0.875)
    assert cropped.shape == tuple(GOLDEN[f"{photo.stem}/crop_shape"])


def bilinear_one_by_one(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by the definition, one pixel at a time, in double precision."""
    result = np.empty((height, width, image.shape[2]))
    for y, x in np.ndindex(height, width):
        row, column = y * image.shape[0] / height, x * image.shape[1] / width
        top, left = int(row), int(column)
        bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
        dy, dx = row - top, column - left
        upper = image[top, left] * (1 - dx) + image[top, right] * dx
        lower = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
        result[y, x] = upper * (1 - dy) + lower * dy
    return result


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (13, 9), (26, 18), (40, 5)])
def test_resize_bilinear_follows_its_definition(size: Any) -> None:
    image = random_pixels(13, 9)
    np.testing.assert_allclose(images.resize_bilinear(image, size), bilinear_one_by_one(image, *size), atol=1e-3)


def test_resize_bilinear_to_the_same_size_changes_nothing() -> None:
    image = random_pixels(13, 9)
    assert np.array_equal(images.resize_bilinear(image, (13, 9)), image)


def test_resize_bilinear_of_one_pixel_and_of_long_sides() -> None:
    assert np.ptp(images.resize_bilinear(random_pixels(1, 1), (5, 7)), axis=(0, 1)).max() == 0
    line = np.arange(99_991, dtype=np.float32).reshape(1, -1, 1)
    upscaled = images.resize_bilinear(line, (1, 100_003))
    assert upscaled.max() <= line.max()
    assert (np.diff(upscaled[0, :, 0]) >= 0).all()


@pytest.mark.parametrize(
    ("shape", "covering", "corner"),
    [
        ((480, 640), (363, 484), (16, 76)),
        ((640, 427), (544, 363), (106, 16)),
        ((331, 331), (363, 363), (16, 16)),
        ((363, 454), (363, 454), (16, 62)),
    ],
)
def test_timm_resizes_the_shorter_side_to_363_and_crops_the_centre(
    shape: tuple[int, int], covering: tuple[int, int], corner: tuple[int, int]
) -> None:
    pixels = random_pixels(*shape)
    resized = np.asarray(Image.fromarray(pixels).resize(covering[::-1], Image.Resampling.BICUBIC))
    top, left = corner
    expected = resized[top : top + 331, left : left + 331] / np.float32(255)
    assert np.array_equal(images.transform(pixels, (331, 331), "timm"), expected)


def test_timm_covers_sizes_that_are_not_square() -> None:
    assert images.transform(random_pixels(50, 400), (96, 192), "timm").shape == (96, 192, 3)
    assert images.transform(random_pixels(400, 50), (96, 192), "timm").shape == (96, 192, 3)


def test_a_strip_too_elongated_for_timm_is_named() -> None:
    buffer = io.BytesIO()
    Image.new("L", (60_000, 1)).save(buffer, "PNG")
    assert images.preprocess(buffer.getvalue(), (331, 331), "hub").shape == (331, 331, 3)
    with pytest.raises(ImageError, match=r"^image bytes: too elongated .60000 x 1 pixels."):
        images.preprocess(buffer.getvalue(), (331, 331), "timm")


@pytest.mark.parametrize("preset", images.PRESETS)
def test_results_lie_between_0_and_1(preset: str) -> None:
    checks = (np.indices((60, 80)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    for pixels in (checks, np.full_like(checks, 255)):
        result = images.transform(pixels, (331, 331), preset)
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert result.max() <= 1


def test_unknown_presets_are_refused_with_similar_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown preset 'tim': did you mean timm"):
        images.preprocess(b"", (331, 331), "tim")


def test_a_custom_preset() -> None:
    half = images.Preset("half", resize="bilinear", crop=0.5, fast_dct=True)
    pixels = random_pixels(40, 60)
    expected = images.transform(pixels[10:30, 15:45], (20, 20), "hub")
    assert np.array_equal(images.transform(pixels, (20, 20), half), expected)


@pytest.mark.parametrize("size", [331, (331,), (0, 5), (5, -1), (2.5, 3), ("a", "b"), None, (1, 2, 3)])
def test_invalid_sizes_are_refused(size: Any) -> None:
    with pytest.raises(InputError, match=r"size must be \(height, width\)"):
        images.transform(random_pixels(4, 4), size)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_invalid_pixels_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"pixels must be uint8 \[H, W, 3\]"):
        images.transform(pixels, (4, 4))
