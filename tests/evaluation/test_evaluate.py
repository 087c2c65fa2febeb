"""Evaluation of a classifier: figures, failures and conditions."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.architecture.labels import labels, wordnet_ids
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError, UnknownNameError
from pnasnet.evaluation import Evaluation, Rate, evaluate
from pnasnet.extract import ExtractOptions
from pnasnet.images import PRESETS, preprocess

from tests.helpers.evaluation_data import BLUE, GREEN, RED, pictures, png, small_network

PHOTOS = Path(__file__).parents[1] / "photos"


def colours(*named: tuple[str, tuple[int, int, int]]) -> LabelledImages:
    """Return images from pairs of true class and colour."""
    true = [("0", "1", "2").index(name) for name, _ in named]
    return pictures([png(colour) for _, colour in named], true, ("0", "1", "2"))


def test_figures_calculated_by_hand() -> None:
    data = colours(("0", RED), ("0", GREEN), ("1", GREEN), ("2", BLUE), ("2", RED), ("2", BLUE))
    seen: list[tuple[str, int, int | None]] = []
    result = evaluate(small_network(3), data, ExtractOptions(batch_size=4), progress=lambda *state: seen.append(state))
    assert seen == [("images", 0, 6), ("images", 4, 6), ("images", 6, 6)]
    assert (result.top1, result.top5) == (Rate(4, 6), None)
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert [each.recall for each in result.per_class] == [Rate(1, 2), Rate(1, 1), Rate(2, 3)]
    assert [each.precision for each in result.per_class] == [Rate(1, 2), Rate(1, 2), Rate(2, 2)]
    assert [(each.true, each.predicted, each.images) for each in result.confusions] == [("0", "1", 1), ("2", "0", 1)]
    assert [(each.image, each.true, each.predicted, each.index) for each in result.mistakes] == [
        ("shard.tar/1.png", "0", "1", 1),
        ("shard.tar/4.png", "2", "0", 4),
    ]
    assert result.most_frequent == Rate(3, 6)
    high = np.exp(np.float64(200) / 255)
    assert result.mistakes[0].probability == pytest.approx(high / (high + 2), rel=1e-5)
    assert (result.images, result.failed, result.num_logits, result.published) == (6, 0, 3, None)
    assert (result.preset, result.image_size, result.precision) == ("hub", (32, 32), "float32")
    assert result.matching == "3 matched by number"


def test_the_time_is_that_between_start_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=iter((100.0, 102.5)).__next__)
    monkeypatch.setattr(sys.modules[evaluate.__module__], "time", clock)
    assert evaluate(small_network(3), colours(("0", RED))).seconds == 2.5


def test_unreadable_images_are_named_and_do_not_shift_labels(tmp_path: Path) -> None:
    contents: list[Any] = [b"no", png(RED), b"", png(GREEN), b"GIF8", png(BLUE), tmp_path / "gone.png"]

    def read(index: int) -> Any:
        if index == 7:
            raise OSError(5, "Input/output error")
        return contents[index]

    names = [*(f"shard.tar/{index}.png" for index in range(6)), str(tmp_path / "gone.png"), "shard.tar/7.png"]
    data = LabelledImages(names, np.array([0, 0, 1, 1, 1, 2, 2, 2]), ("0", "1", "2"), read)
    result = evaluate(small_network(3), data, ExtractOptions(batch_size=2, decoders=3))
    assert (result.images, result.failed, result.top1) == (3, 5, Rate(3, 3))
    assert [each.recall.count for each in result.per_class] == [1, 1, 1]
    assert len(result.errors) == 5
    for line, name in zip(result.errors, [names[0], names[2], names[4], names[6], names[7]], strict=True):
        assert line.startswith(f"{name}: ")
    assert "Input/output error" in result.errors[4]
    assert "\n" not in "".join(result.errors)


def test_mistakes_after_a_failure_keep_their_names() -> None:
    result = evaluate(small_network(3), pictures([b"no", png(RED), png(RED)], [0, 0, 1], ["0", "1", "2"]))
    assert [(each.image, each.true, each.index) for each in result.mistakes] == [("shard.tar/2.png", "1", 2)]


def test_only_the_first_failures_are_named() -> None:
    data = pictures([b"no"] * 9 + [png(RED)], [0] * 10, ["0", "1", "2"])
    result = evaluate(small_network(3), data, ExtractOptions(batch_size=1))
    assert (result.failed, len(result.errors), result.top1) == (9, 5, Rate(1, 1))


def test_all_failed_is_an_error() -> None:
    with pytest.raises(InputError, match=r"none of the 2 images could be read: shard.tar/0.png: "):
        evaluate(small_network(3), pictures([b"no", b""], [0, 1], ["0", "1", "2"]))


def test_no_pictures_no_classifier_other_classes_no_such_preset() -> None:
    with pytest.raises(InputError, match="no images"):
        evaluate(small_network(3), pictures([], [], ["0", "1", "2"]))
    features = Module(Path(__file__).parents[1] / "checkpoints/tiny_hub_tf1", engine="fake")
    with pytest.raises(InputError, match="has no classifier"):
        evaluate(features, colours(("0", RED)))
    with pytest.raises(InputError, match="not among the model's"):
        evaluate(Module("pnasnet_tiny", engine="fake"), pictures([png(RED)], [0], ["ant"]))
    with pytest.raises(UnknownNameError, match="preset"):
        evaluate(small_network(3), colours(("0", RED)), ExtractOptions(preset="hup"))


# With the fake engine, a green image has logit 1 (then 4, 7, ...), a blue one logit 2, a red one logit 0.

WORDNET = wordnet_ids()


def imagenet(classes: tuple[str, ...], *pairs: tuple[int, tuple[int, int, int]]) -> LabelledImages:
    return pictures([png(colour) for _, colour in pairs], [true for true, _ in pairs], classes)


@pytest.mark.parametrize("classes", [WORDNET, tuple(map(str, range(1000))), labels("imagenet1000")])
def test_1001_logits_have_the_background_in_front(classes: tuple[str, ...]) -> None:
    """Class 0 is logit 1, which is green; red images are predicted as background."""
    data = imagenet(classes, (0, GREEN), (1, BLUE), (2, RED), (2, GREEN), (12, GREEN), (15, GREEN))
    result = evaluate(small_network(1001), data)
    assert result.top1 == Rate(2, 6)
    assert result.top5 is not None
    # The ranks of green: logits 1, 4, 7, 10, 13, 16, ...; class 12 is logit 13, the fifth; class 15 the sixth.
    # The ranks of red: 0, 3, 6, ...; class 2 is logit 3, the second. Green ranks class 2 behind all 334 green logits.
    assert result.top5 == Rate(4, 6)
    assert len(result.per_class) == 1000
    assert result.per_class[0].logit == 1
    assert result.per_class[0].label == "tench"
    assert result.per_class[0].name == classes[0]
    assert {each.predicted for each in result.confusions} == {"background", "tench"}
    assert "background" in result.matching


def test_1000_logits_have_no_background() -> None:
    result = evaluate(small_network(1000), imagenet(WORDNET, (0, RED), (1, GREEN), (2, BLUE), (2, RED)))
    assert (result.top1, result.top5) == (Rate(3, 4), Rate(3, 4))
    assert result.per_class[0].label == "tench"
    assert "background" not in result.matching


def test_ten_of_imagenets_classes_compete_with_all() -> None:
    ten = (WORDNET[0], WORDNET[217])  # tench and English springer, as in Imagenette
    result = evaluate(small_network(1001), imagenet(ten, (0, GREEN), (1, RED)))
    assert result.top1 == Rate(1, 2)
    assert [each.logit for each in result.per_class] == [1, 218]
    assert "the model's other 998 compete" in result.matching


def module_of(origin: str, classes: int = 1001) -> Module:
    """Return a network that claims to have these weights, at the size of the named network."""
    module = small_network(classes)
    module.model.origin = origin
    return module


@pytest.mark.parametrize("origin", ["nasnet-x", "downloads/nasnet-x.tar.gz", "nasnet-x.pth"])
def test_published_figures_of_the_same_weights(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pnasnet.architecture import zoo

    record = zoo.PublishedWeights("nasnet-x", "", "", "imagenet1001", top1=74.0, top5=91.6)
    network = zoo.NamedNetwork("nasnet_x", zoo.find("pnasnet_tiny").spec, (record,))
    monkeypatch.setitem(zoo.NETWORKS, "nasnet_x", network)
    whole = imagenet(WORDNET, (0, GREEN))
    result = evaluate(module_of(origin), whole)
    assert result.published is record
    assert result.to_dict()["published"] == {"weights": "nasnet-x", "top1": 74.0, "top5": 91.6}
    assert evaluate(module_of("mine.safetensors"), whole).published is None
    assert evaluate(module_of(origin), imagenet(WORDNET[:10], (0, GREEN))).published is None
    assert evaluate(module_of(origin, 3), colours(("0", RED))).published is None


def test_published_figures_need_the_networks_own_size() -> None:
    assert evaluate(module_of("nasnet-a_mobile_04_10_2017"), imagenet(WORDNET, (0, GREEN))).published is None


# Real networks.


@pytest.fixture(scope="module")
def tiny() -> Module:
    return Module("pnasnet_tiny")


PATHS = [str(PHOTOS / f"{name}.jpg") for name in ("astronaut", "chelsea", "coffee", "rocket")]


def photos(classes: tuple[str, ...], true: list[int]) -> LabelledImages:
    return LabelledImages(PATHS, np.array(true), classes, lambda index: PATHS[index])


def inputs(preset: str) -> Any:
    return np.stack([preprocess(path, (32, 32), preset) for path in PATHS])


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_real_network(tiny: Module, preset: str) -> None:
    classes, true = labels("cifar10")[::-1], [5, 6, 1, 9]  # a deer, a cat, a ship, an airplane, by some stretch
    result = evaluate(tiny, photos(classes, true), ExtractOptions(preset=preset, batch_size=3))
    logits = tiny(inputs(preset), signature="image_classification")
    wanted = [9 - label for label in true]
    ranks = [1 + int((row > row[label]).sum()) for row, label in zip(logits, wanted, strict=True)]
    assert result.top1 == Rate(sum(rank == 1 for rank in ranks), 4)
    assert result.top5 == Rate(sum(rank <= 5 for rank in ranks), 4)
    assert result.preset == preset
    assert "OpenVINO" in result.engine
    assert result.weights == "pnasnet_tiny"
    assert len(result.weights_sha256) == 64
    taken = {mistake.image: mistake for mistake in result.mistakes}
    for name, row, label in zip(PATHS, logits, wanted, strict=True):
        best = int(row.argmax())
        assert (name in taken) == (best != label)
        if name in taken:
            assert taken[name].predicted == labels("cifar10")[best]
            assert taken[name].probability == pytest.approx(1 / np.exp(row - row.max()).sum(), rel=1e-4)


def test_a_real_network_of_1001_classes() -> None:
    module = small_network(1001, engine="openvino")
    logits = module(inputs("hub"), signature="image_classification")
    best = logits.argmax(axis=1)
    true = [int(best[0]) - 1, int(best[1]) - 1, (int(best[2]) + 5) % 1000, int(best[3]) - 1]
    assert min(true) >= 0
    result = evaluate(module, photos(WORDNET, true))
    assert result.top1.hits == 3
    assert result.mistakes[0].image.endswith("coffee.jpg")
    assert result.mistakes[0].predicted == labels("imagenet1001")[best[2]]


def test_the_result_is_json() -> None:
    result = evaluate(small_network(3), colours(("0", RED), ("0", GREEN)))
    assert isinstance(result, Evaluation)
    stated = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert stated["top1"] == {"value": 0.5, "hits": 1, "count": 2, "interval95": list(result.top1.interval)}
    assert stated["top5"] is None
    assert stated["published"] is None
    assert stated["per_class"][2]["recall"]["value"] is None
    assert stated["confusions"] == [{"true": "0", "predicted": "1", "images": 1}]
    assert stated["image_size"] == [32, 32]
    # The result is complete.
    assert set(stated) == {"pnasnet_version", *Evaluation.__dataclass_fields__}
