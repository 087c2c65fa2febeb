"""The shipped models are what their cards say: each figure is measured again, on some of the test images."""

import math
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from pnasnet import Module
from pnasnet.datasets import open_dataset
from pnasnet.evaluation import Rate, evaluate

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Shipped:
    """A model, and what its card states."""

    name: str
    images: str
    """Labelled images in `tests/golden`, the first of each class."""
    accuracy: str
    """The card's row with the accuracy on all test images."""
    hits: str
    """The card's row with the number of these images that are classified correctly."""
    least: float
    """Percent of all test images that a later model must not fall below."""
    size: int
    """Most bytes of the file."""

    def stated(self, row: str) -> str:
        """Return the value in a row of the card's table."""
        card = files("pnasnet").joinpath("data", f"{self.name}.md").read_text("utf-8")
        match = re.search(rf"\| {re.escape(row)} \| (.+?) \|", card)
        assert match, f"the card does not state: {row}"
        return match[1]


SHIPPED = (
    Shipped(
        "pnasnet_tiny",
        "cifar10_400.parquet",
        "top-1 on CIFAR-10's 10,000 test images",
        "correct among the 400 images in the tests",
        89.85,
        4_000_000,
    ),
    Shipped(
        "pnasnet_small",
        "tiny_imagenet_200.parquet",
        "top-1 on Tiny ImageNet's 10,000 validation images",
        "correct among the 200 images in the tests",
        56,
        6_000_000,
    ),
)


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> Shipped:
    assert isinstance(request.param, Shipped)
    return request.param


@pytest.fixture(scope="module")
def measured(model: Shipped) -> Rate:
    return evaluate(Module(model.name), open_dataset(GOLDEN / model.images)).top1


def test_the_bundled_images_are_as_right_as_stated(model: Shipped, measured: Rate) -> None:
    right, count = re.findall(r"\d+", model.stated(model.hits))
    assert measured.count == int(count)
    assert measured.hits == pytest.approx(int(right), abs=2)  # engines round differently


def test_the_stated_figure_is_within_what_the_bundled_images_allow(model: Shipped, measured: Rate) -> None:
    percent = float(model.stated(model.accuracy).removesuffix(" %"))
    assert percent >= model.least
    figure = percent / 100
    standard_error = math.sqrt(figure * (1 - figure) / measured.count)
    assert abs(measured.hits / measured.count - figure) < 3 * standard_error  # one honest figure in 370 fails


def test_the_file_is_small(model: Shipped) -> None:
    assert len(files("pnasnet").joinpath("data", f"{model.name}.safetensors").read_bytes()) <= model.size
