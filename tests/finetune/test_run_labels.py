"""Transfer learning on images whose labels are passed beside them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.finetune import finetune

from tests.helpers.finetune_data import COLOURS, coloured, png


def test_labels_for_images_without_class_folders(tmp_path: Path) -> None:
    data = coloured(10)
    images = [Image.open(io.BytesIO(png(colour, seed))) for colour in COLOURS.values() for seed in range(10)]
    names = [data.classes[label] for label in data.labels]
    result = finetune("pnasnet_tiny", [np.asarray(image) for image in images], str(tmp_path / "model"), labels=names)
    assert result.evaluation.top1.value == 1.0
    module = Module(tmp_path / "model")
    assert module.labels == ("blue", "green", "red")
    assert [module.classify([png(colour, 99)])[0][0][0] for colour in COLOURS.values()] == list(COLOURS)
    with pytest.raises(InputError, match="the images have no labels: pass labels, or open them"):
        finetune("pnasnet_tiny", images, tmp_path / "other")
