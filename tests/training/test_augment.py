"""Random changes of images: their effects and frequencies."""

import colorsys
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet.training.augment import Moves, crop_and_flip, distort_colours, random_box, shift_hsv
from pnasnet.training.recipe import CropAndFlip, ShiftAndFlip


def moved(images: torch.Tensor, size: int, how: ShiftAndFlip) -> torch.Tensor:
    return Moves.draw(len(images), images.shape[1:3], how, torch.Generator().manual_seed(0)).apply(images, size)


def test_small_images_are_shifted_and_mirrored_copies() -> None:
    image = torch.arange(16 * 16 * 3, dtype=torch.uint8).reshape(1, 16, 16, 3).expand(64, -1, -1, -1)
    result = moved(image, 16, ShiftAndFlip(shift=4))
    assert result.shape == (64, 16, 16, 3)
    assert result.dtype == torch.float32
    assert len({tuple(m.flatten().tolist()) for m in result}) > 40
    inner = {tuple((m[6:10, 6:10] * 255).round().to(torch.uint8).flatten().tolist()) for m in result}
    windows = {
        tuple(source[y : y + 4, x : x + 4].flatten().tolist())
        for source in (image[0], image[0].flip(1))
        for y in range(2, 11)
        for x in range(2, 11)
    }
    assert inner <= windows


def test_without_a_shift_half_are_mirrored() -> None:
    image = torch.arange(8, dtype=torch.uint8).expand(2000, 8, 8)[..., None].expand(-1, -1, -1, 3)
    mirrored = moved(image, 8, ShiftAndFlip(shift=0))[:, 0, 0, 0] > 0
    assert 900 < int(mirrored.sum()) < 1100


def test_other_sizes_are_resized() -> None:
    image = torch.full((3, 16, 16, 3), 51, dtype=torch.uint8)
    result = moved(image, 8, ShiftAndFlip())
    assert result.shape == (3, 8, 8, 3)
    torch.testing.assert_close(result, torch.full_like(result, 0.2))


def test_cutout_greys_a_square_around_any_pixel() -> None:
    count, size, side = 4000, 16, 8
    white = torch.full((count, size, size, 3), 255, dtype=torch.uint8)
    result = moved(white, size, ShiftAndFlip(shift=0, cutout=side))
    assert set(result.flatten().tolist()) == {0.5, 1.0}
    greyed = (result == 0.5)[..., 0]
    rows, columns = greyed.any(2).sum(1), greyed.any(1).sum(1)
    assert (greyed.sum((1, 2)) == rows * columns).all()  # a rectangle
    assert int(rows.max()) == side
    assert int(rows.min()) == side // 2  # centred on an edge
    # With the centre anywhere, sides of 4, 5, 6, 7, then 9 times 8, then 7, 6, 5: on average 7.
    assert rows.float().mean().item() == pytest.approx(7, rel=0.01)
    assert columns.float().mean().item() == pytest.approx(7, rel=0.01)


def test_a_share_of_a_batch_has_the_changes_of_the_whole() -> None:
    images = torch.randint(0, 256, (6, 8, 8, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    moves = Moves.draw(6, (8, 8), ShiftAndFlip(shift=2, cutout=3), torch.Generator().manual_seed(0))
    share = slice(1, None, 2)
    torch.testing.assert_close(moves.take(share).apply(images[share], 8), moves.apply(images, 8)[share])


def test_boxes_have_areas_and_ratios_within_the_ranges() -> None:
    rng, how = np.random.default_rng(0), CropAndFlip(area=(0.1, 0.6), ratio=(0.75, 1.33))
    boxes = np.array([random_box(200, 300, how, rng) for _ in range(2000)])
    top, left, height, width = boxes.T
    areas, ratios = height * width / 60_000, width / height
    assert 0.095 < areas.min() < 0.15
    assert 0.5 < areas.max() < 0.61
    assert 0.74 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.35
    assert ((top >= 0) & (left >= 0) & (top + height <= 200) & (left + width <= 300)).all()
    assert areas.mean() == pytest.approx(0.35, abs=0.02)  # uniform in the area, but for boxes that are too high


def test_an_image_that_no_box_fits_is_used_whole() -> None:
    assert random_box(1, 1000, CropAndFlip(area=(0.5, 1.0)), np.random.default_rng(0)) == (0, 0, 1, 1000)


def test_crop_of_a_plain_image_without_colours_is_plain() -> None:
    pixels = np.full((40, 30, 3), (255, 51, 0), np.uint8)
    result = crop_and_flip(pixels, 12, CropAndFlip(colours=False), np.random.default_rng(0))
    assert result.shape == (12, 12, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.broadcast_to([1, 0.2, 0], (12, 12, 3)), atol=1e-6)


def test_crops_are_mirrored_half_of_the_time() -> None:
    pixels = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 64, 0).repeat(3, 2)
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(400):
        result = crop_and_flip(pixels, 8, CropAndFlip(colours=False), rng)
        mirrored += int(result[0, 0, 0] > result[0, -1, 0])
    assert 160 < mirrored < 240


def test_colours_are_distorted_and_stay_in_range() -> None:
    image = np.random.default_rng(1).random((6, 5, 3), np.float32)
    results = [distort_colours(image, np.random.default_rng(seed)) for seed in range(50)]
    assert all(r.dtype == np.float32 and r.min() >= 0 and r.max() <= 1 for r in results)
    assert min(float(np.abs(r - image).max()) for r in results) > 0.01
    assert np.abs(np.mean([r.mean() for r in results]) - image.mean()) < 0.05


@pytest.mark.parametrize(
    ("turn", "saturation"), [(0.0, 1.0), (0.1, 1.0), (-0.2, 1.0), (0.0, 0.5), (0.0, 1.5), (0.5, 0.7)]
)
def test_hue_and_saturation_against_colorsys(turn: float, saturation: float) -> None:
    image = np.random.default_rng(0).random((4, 4, 3), np.float32)
    image[0, 0] = (0.3, 0.3, 0.3)  # no hue
    image[0, 1] = (0.7, 0.7, 0.1)  # two largest
    expected = np.empty_like(image)
    for y, x in np.ndindex(4, 4):
        hue, chroma, value = colorsys.rgb_to_hsv(*map(float, image[y, x]))
        expected[y, x] = colorsys.hsv_to_rgb((hue + turn) % 1, min(chroma * saturation, 1), value)
    np.testing.assert_allclose(shift_hsv(image, turn, saturation), expected, atol=1e-5)


# Ranges of the colours.


class Fixed(np.random.Generator):
    """Returns a given order of steps, and for each number the lowest or highest value (0 or 1) of its range."""

    def __init__(self, order: list[int], extreme: int) -> None:
        super().__init__(np.random.PCG64(0))
        self._order, self._extreme = order, extreme

    def permutation(self, count: Any, axis: int = 0) -> Any:
        return np.array(self._order)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return (low, high)[self._extreme]


BRIGHTNESS, SATURATION, HUE, CONTRAST = range(4)


@pytest.mark.parametrize("extreme", [0, 1])
@pytest.mark.parametrize("last", [BRIGHTNESS, SATURATION, HUE, CONTRAST])
def test_colours_change_by_tensorflows_ranges(last: int, extreme: int) -> None:
    """Brightness by 32/255, saturation and contrast by 0.5 to 1.5, hue by 0.2 of a circle; each looked at alone."""
    image = np.array([[[0.5, 0.4, 0.4], [0.45, 0.5, 0.55]]], np.float32)
    result = distort_colours(image, Fixed([last], extreme))
    sign, factor = (-1, 1)[extreme], (0.5, 1.5)[extreme]
    pixels = [tuple(map(float, pixel)) for pixel in image[0]]
    if last == BRIGHTNESS:
        expected = [[each + sign * 32 / 255 for each in pixel] for pixel in pixels]
    elif last == CONTRAST:
        mean = image.mean((0, 1))
        expected = [list((np.array(pixel) - mean) * factor + mean) for pixel in pixels]
    else:
        expected = []
        for pixel in pixels:
            hue, chroma, value = colorsys.rgb_to_hsv(*pixel)
            turned = (hue + 0.2 * sign) % 1 if last == HUE else hue
            expected.append(list(colorsys.hsv_to_rgb(turned, chroma * (factor if last == SATURATION else 1), value)))
    np.testing.assert_allclose(result[0], expected, atol=1e-5)


def test_colours_change_in_any_order() -> None:
    """The four steps do not commute, so that all orders give different results."""
    image = (np.random.default_rng(1).random((3, 3, 3)) / 2 + 0.25).astype(np.float32)
    results = {distort_colours(image, Fixed(list(order), 1)).tobytes() for order in itertools.permutations(range(4))}
    assert len(results) > 12
    drawn = {tuple(np.random.default_rng(seed).permutation(4).tolist()) for seed in range(300)}
    assert len(drawn) == 24
