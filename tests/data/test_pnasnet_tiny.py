"""The shipped model is what its card says: its figure is measured again, on 400 of CIFAR-10's test images."""

import math
import re
from importlib.resources import files
from pathlib import Path

import pytest

from pnasnet import Module
from pnasnet.datasets import open_dataset
from pnasnet.evaluation import Rate, evaluate

IMAGES = Path(__file__).parents[1] / "golden" / "cifar10_400.parquet"
"""The first 40 of each class."""
EARLIER = 89.85
"""Percent of the test images that the model shipped before got right; a later one must not fall below."""


def stated(what: str) -> str:
    """Return what the card's table says of `what`."""
    card = files("pnasnet").joinpath("data", "pnasnet_tiny.md").read_text("utf-8")
    match = re.search(rf"\| {re.escape(what)} \| (.+?) \|", card)
    assert match, f"the card does not state: {what}"
    return match[1]


@pytest.fixture(scope="module")
def measured() -> Rate:
    return evaluate(Module("pnasnet_tiny"), open_dataset(IMAGES)).top1


def test_the_bundled_images_are_as_right_as_stated(measured: Rate) -> None:
    right, count = re.findall(r"\d+", stated("of which right among the 400 that the tests have"))
    assert measured.count == int(count) == 400
    assert measured.hits == pytest.approx(int(right), abs=2)  # engines round differently


def test_the_stated_figure_is_within_what_the_bundled_images_allow(measured: Rate) -> None:
    percent = float(stated("top-1 on CIFAR-10's 10,000 test images").removesuffix(" %"))
    assert percent >= EARLIER
    figure = percent / 100
    standard_error = math.sqrt(figure * (1 - figure) / measured.count)
    assert abs(measured.hits / measured.count - figure) < 3 * standard_error  # one honest figure in 370 fails


def test_the_file_is_small() -> None:
    weights = files("pnasnet").joinpath("data", "pnasnet_tiny.safetensors")
    assert len(weights.read_bytes()) <= 4_000_000
