"""What `embed` and `classify` accept, and what they compute."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from pnasnet import Module
from pnasnet.errors import ImageError, InputError, UnknownNameError
from pnasnet.images import decode, preprocess

from tests.helpers.http_answers import body, http_server

PHOTOS = sorted((Path(__file__).parents[1] / "photos").glob("*.jpg"))[:3]
NAMES = [str(path) for path in PHOTOS]


def pixels(path: Path) -> Any:
    return decode(path)


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny")


@pytest.fixture(scope="module")
def expected(module: Module) -> Any:
    return module(np.stack([preprocess(path, (32, 32), "hub") for path in PHOTOS]))


@pytest.mark.parametrize(
    "given",
    [
        PHOTOS,
        tuple(NAMES),
        np.array(NAMES),
        np.array(NAMES, object),
        pd.Series(NAMES),
        pd.Series(NAMES, index=[7, 8, 9]),
        pa.array(NAMES),
        pa.chunked_array([NAMES[:1], NAMES[1:]]),
        pa.array([path.read_bytes() for path in PHOTOS]),
        [PHOTOS[0], PHOTOS[1].read_bytes(), bytearray(PHOTOS[2].read_bytes())],
        [Image.fromarray(pixels(path)) for path in PHOTOS],
        [pixels(path) for path in PHOTOS],
        dict.fromkeys(NAMES).keys(),
    ],
    ids=lambda given: f"{type(given).__module__}.{type(given).__name__}",
)
def test_every_kind_of_list_is_accepted(module: Module, expected: np.ndarray, given: Any) -> None:
    np.testing.assert_allclose(module.embed(given), expected, atol=1e-3 * expected.max())


def test_a_single_image_of_any_kind_is_accepted(module: Module, expected: np.ndarray) -> None:
    one = PHOTOS[0]
    data, decoded = one.read_bytes(), pixels(one)
    for given in (one, str(one), data, memoryview(data), Image.fromarray(decoded), decoded):
        np.testing.assert_allclose(module.embed(given), expected[:1], atol=1e-3 * expected.max())


def test_a_batch_of_pixels_is_several_images(module: Module) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    np.testing.assert_array_equal(module.embed(batch), module.embed(list(batch)))
    assert module.embed(batch[:0]).shape == module.embed([]).shape == (0, 960)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "images must be paths, .* not int"),
        ({"a": "b.jpg"}, "not a mapping: pass its values"),
        ([None], "an image must be a path, bytes, a PIL image or a uint8 array .*, not NoneType"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "a uint8 array .*, not Tensor"),
        (io.BytesIO(b"photo"), "images are an open file: pass its bytes"),
        ([io.BytesIO(b"photo")], "a uint8 array .*, not BytesIO"),
        (pd.DataFrame({"path": NAMES}), "images are a table, DataFrame: pass the column of images alone"),
        (pa.table({"path": NAMES}), "images are a table, Table: pass the column of images alone"),
        (np.zeros((5, 4, 3), np.float32), r"pixels must be uint8 \[H, W, 3\] or .*, not float32 \[5, 4, 3\]"),
        (np.zeros((5, 4), np.uint8), r"pixels must be uint8 .*, not uint8 \[5, 4\]"),
        (np.zeros((2, 5, 4, 1), np.uint8), r"pixels must be uint8 .*, not uint8 \[2, 5, 4, 1\]"),
        (np.arange(3), r"pixels must be uint8 .*, not int64 \[3\]"),
        ([np.zeros((4, 4), np.uint8)], r"pixels must be uint8 \[H, W, 3\], not uint8 \[4, 4\]"),
        (["https://example.org/a.jpg"], "is a URL: pass its host in allow_hosts, or download it"),
    ],
)
def test_anything_else_is_refused_in_one_line(module: Module, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        module.embed(given)


def test_a_damaged_image_is_named(module: Module) -> None:
    with pytest.raises(ImageError, match=r"test_pictures\.py"):
        module.embed([PHOTOS[0], Path(__file__)])


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_at_least_one_image(module: Module, size: int) -> None:
    for use in (module.embed, module.classify):
        with pytest.raises(InputError, match=f"batch_size must be at least 1, not {size}"):
            use(PHOTOS, batch_size=size)


@pytest.mark.parametrize("preset", ["slim", "timm"])
def test_the_preset_of_the_caller_is_used(module: Module, preset: str) -> None:
    images = np.stack([preprocess(path, (32, 32), preset) for path in PHOTOS])
    np.testing.assert_allclose(module.embed(PHOTOS, preset=preset), module(images), rtol=1e-5)
    assert not np.allclose(module.embed(PHOTOS, preset=preset), module.embed(PHOTOS), rtol=1e-2)
    assert module.classify(PHOTOS, preset=preset) != module.classify(PHOTOS)
    logits = torch.from_numpy(module(images, signature="image_classification"))
    best = logits.softmax(1).max(1).values.tolist()
    assert [rows[0][1] for rows in module.classify(PHOTOS, preset=preset)] == pytest.approx(best, rel=1e-4)
    with pytest.raises(UnknownNameError, match="preset"):
        module.embed(PHOTOS, preset="nothing")


def test_the_most_probable_classes_come_first(module: Module) -> None:
    images = np.stack([preprocess(path, (32, 32), "hub") for path in PHOTOS])
    probabilities = torch.from_numpy(module(images, signature="image_classification")).softmax(1)
    assert module.labels is not None
    for found, row in zip(module.classify(PHOTOS, top=3), probabilities, strict=True):
        values, order = row.topk(3)
        assert [name for name, _ in found] == [module.labels[i] for i in order]
        assert [value for _, value in found] == pytest.approx(values.tolist(), rel=1e-4)
    assert len(module.classify(PHOTOS[0], top=99)[0]) == 10
    for top in (0, -1):
        with pytest.raises(InputError, match=f"top must be at least 1, not {top}"):
            module.classify(PHOTOS, top=top)


def test_urls_are_fetched_only_from_allowed_hosts(module: Module, expected: Any) -> None:
    asked: list[str] = []

    def photo(handler: Any) -> None:
        asked.append(handler.path)
        body(PHOTOS[0].read_bytes())(handler)

    with http_server({"/a.jpg": photo, "/?X-Amz-Signature=secret": photo}) as address:
        for hosts in ((), ("example.org",)):
            with pytest.raises((InputError, ImageError), match="allow_hosts"):
                module.embed(f"{address}/a.jpg", allow_hosts=hosts)
        with pytest.raises(InputError, match="is not a host"):
            module.embed(f"{address}/a.jpg", allow_hosts=[address])
        with pytest.raises(ImageError, match="allow_hosts"):  # a name, not a text in which to find one
            module.embed(f"{address}/a.jpg", allow_hosts="127.0.0.100")
        assert not asked
        found = module.embed([f"{address}/a.jpg", PHOTOS[1]], allow_hosts=["127.0.0.1"])
        np.testing.assert_allclose(found, expected[:2], atol=1e-3 * expected.max())
        assert module.classify(f"{address}/a.jpg", allow_hosts=["127.0.0.1"]) == module.classify(PHOTOS[0])
        with pytest.raises(ImageError, match=r"/gone\.jpg cannot be read \(the server answers 404"):
            module.embed(f"{address}/gone.jpg?X-Amz-Signature=secret", allow_hosts=["127.0.0.1"])
    assert asked == ["/a.jpg", "/a.jpg"]
