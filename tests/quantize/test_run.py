"""From a model and pictures to the folder of a quantized model."""

import json
import logging
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pnasnet import Module
from pnasnet.errors import InputError, MissingExtraError, OutputError
from pnasnet.extract import list_units
from pnasnet.module.open import open_model
from pnasnet.quantize import QuantizeOptions, compare, quantize
from pnasnet.quantize.images import read_images
from pnasnet.quantize.options import FEWEST_IMAGES
from pnasnet.quantize.run import make_graphs
from pnasnet.support.progress import silent

from tests.helpers.quantized_models import IMAGES, quantized_tiny


def photos(folder: Path, count: int, broken: int = 0) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{index:03}.png")
    for index in range(broken):
        (folder / f"broken_{index}.png").write_bytes(b"no picture")
    return folder


def test_a_trained_model_stays_near_float32() -> None:
    result = quantized_tiny()
    assert result.fidelity.images == 200
    assert result.fidelity.mean_cosine > 0.99
    assert result.fidelity.low_cosine > 0.9
    assert (result.fidelity.same_top1 or 0) > 0.95
    assert result.steps[-1].int8_share == 1.0


def test_the_folder_is_a_third_of_the_weights_and_states_how_it_was_made() -> None:
    result = quantized_tiny()
    manifest = json.loads((result.folder / "quantization.json").read_text())
    assert sorted(path.name for path in result.folder.iterdir()) == ["int8.bin", "int8.xml", "quantization.json"]
    weights = 4 * sum(map(prod, open_model("pnasnet_tiny").plan.variables().values()))
    assert (result.folder / "int8.bin").stat().st_size < 0.35 * weights
    assert manifest["fidelity"] == result.fidelity.to_dict()
    assert manifest["calibration"]["images"] == 200
    assert len(manifest["calibration"]["sha256"]) == 64
    assert manifest["made_from"] == {
        "weights": "pnasnet_tiny",
        "weights_sha256": open_model("pnasnet_tiny").checksum,
    }
    assert manifest["settings"]["least_cosine"] == 0.98


def test_measured_fidelity_is_that_of_the_opened_model() -> None:
    options = QuantizeOptions(images=200, held_out=200)
    images = read_images(list_units([str(IMAGES)]), (32, 32), "hub", options, silent)
    features = Module(quantized_tiny().folder, threads=1).run(images.held_out, ("global_pool",))["global_pool"]
    expected = Module("pnasnet_tiny", engine="openvino", threads=1).run(images.held_out, ("global_pool",))
    near = compare(features, expected["global_pool"], None, None)
    assert near.mean_cosine == pytest.approx(quantized_tiny().fidelity.mean_cosine, abs=1e-4)


def test_without_readable_images_there_is_nothing_to_calibrate_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 3 images can be read, so there is nothing to calibrate with"):
        quantize("pnasnet_tiny", photos(tmp_path / "photos", 0, broken=3), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_few_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = photos(tmp_path / "photos", 40, broken=2)
    with pytest.raises(InputError, match=f"only 40 readable images: quantization needs at least {2 * FEWEST_IMAGES}"):
        quantize("pnasnet_tiny", folder, tmp_path / "out")
    assert "2 of 42 images cannot be read, such as " in caplog.text


def test_below_the_least_cosine_nothing_is_written(tmp_path: Path) -> None:
    options = QuantizeOptions(images=32, held_out=32, least_cosine=1.0, threads=1)
    with pytest.raises(InputError, match=r"the mean cosine to float32 is 0\.99\d+ on 32 held-out images, below 1: "):
        quantize("pnasnet_tiny", IMAGES, tmp_path / "out", options)
    assert list(tmp_path.iterdir()) == []


def test_the_graphs_are_those_before_the_choice() -> None:
    """Whoever draws the trade-off makes every mixture from them."""
    model, options = open_model("pnasnet_tiny"), QuantizeOptions(images=32, held_out=32, least_cosine=1.0, threads=1)
    images = read_images(list_units([str(IMAGES)]), model.spec.image_size, model.preset, options, silent)
    original, whole, steps = make_graphs(model, images, options, silent)

    def quantized(graph: Any) -> set[str]:
        """Return the parts that read int8 activations."""
        readers = (node.get_friendly_name() for node in graph.get_ops() if "Convolution" in node.get_type_name()
                   and node.input_value(0).get_node().get_type_name() == "FakeQuantize")  # fmt: skip
        return {name.partition("/")[0] for name in readers}

    assert not quantized(original)
    assert {f"cell_{i}" for i in range(4)} <= quantized(whole) & set(steps[-1].floating)


def test_a_quantized_model_is_not_quantized_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is quantized already: name the model that it was made from"):
        quantize(quantized_tiny().folder, IMAGES, tmp_path / "out")


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists: choose another folder, or pass --overwrite"):
        quantize("pnasnet_tiny", IMAGES, tmp_path)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pnasnet\[int8\]'"):
        quantize("pnasnet_tiny", IMAGES, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 5}, "images must be at least 32, not 5"),
        ({"held_out": 0}, "held_out must be at least 32, not 0"),
        ({"least_cosine": 1.5}, "least_cosine must be from 0 to 1, not 1.5"),
        ({"floating": "float16"}, "unknown precision 'float16'"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QuantizeOptions(**options)  # type: ignore[arg-type]


def test_fewer_images_than_wanted_are_divided(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:

    caplog.set_level(logging.INFO)
    units = list_units([str(photos(tmp_path / "photos", 80))])
    images = read_images(units, (32, 32), "hub", QuantizeOptions(images=300, held_out=100), silent)
    assert (len(images.calibration), len(images.held_out)) == (48, 32)
    assert "80 readable images instead of 400: 48 to calibrate, 32 to measure" in caplog.text
