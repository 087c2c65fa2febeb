"""The most probable classes of images."""

from pathlib import Path

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions, classify, list_units, pictures_of
from pnasnet.images import decode, transform

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.corpus import write_folder
from tests.helpers.golden_weights import drawn

NAMES = ("chelsea.jpg", "coffee.jpg")


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of two photos with a damaged file between them."""
    contents = {name: (PHOTOS / name).read_bytes() for name in NAMES}
    return write_folder(
        tmp_path / "photos", {NAMES[0]: contents[NAMES[0]], "chess.jpg": b"", NAMES[1]: contents[NAMES[1]]}
    )


@pytest.mark.parametrize("batch_size", [1, 3])
def test_classes_belong_to_their_image_with_the_most_probable_first(
    module: Module, folder: Path, batch_size: int
) -> None:
    found = list(classify(module, pictures_of(list_units([folder])), ExtractOptions(batch_size=batch_size), top=3))
    assert [Path(each.path).name for each in found] == ["chelsea.jpg", "chess.jpg", "coffee.jpg"]
    assert [each.error is None for each in found] == [True, False, True]
    assert found[1].classes == ()
    assert module.labels is not None
    for each in (found[0], found[2]):
        pixels = transform(decode(each.path), module.image_size, module.preset)
        probabilities = module.run(pixels[np.newaxis], ("Predictions",))["Predictions"][0]
        places = np.argsort(-probabilities)[:3]
        assert [name for name, _ in each.classes] == [module.labels[place] for place in places]
        assert [share for _, share in each.classes] == pytest.approx(probabilities[places].tolist(), rel=1e-4)


def test_classes_without_names_are_numbered(folder: Path) -> None:
    spec = NetworkSpec(PNASNET5, 2, 8, (16, 16), 3, stem="cifar")
    found = list(classify(Module(spec, drawn(spec)), pictures_of(list_units([folder / NAMES[0]]))))
    assert {name for name, _ in found[0].classes} == {"class 0", "class 1", "class 2"}  # of five, all that exist


def test_what_cannot_be_classified(module: Module, folder: Path) -> None:
    spec = NetworkSpec(PNASNET5, 2, 8, (16, 16), None, stem="cifar")
    with pytest.raises(InputError, match="has no classifier: its weights compute feature vectors only"):
        next(classify(Module(spec, drawn(spec)), pictures_of(list_units([folder]))))
    with pytest.raises(InputError, match="top must be at least 1, not 0"):
        next(classify(module, pictures_of(list_units([folder])), top=0))
