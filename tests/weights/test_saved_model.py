import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.errors import CorruptWeightsError, WeightsNotFoundError
from pnasnet.weights import open_weights
from pnasnet.weights.bundle import Bundle
from pnasnet.weights.saved_model import OBJECT_GRAPH, HubModuleInfo, Signature, read_module_info, read_object_names

from tests.helpers.weights_files import CHECKPOINTS, chunk, flip, number


def tensor(name: str, *sizes: int) -> bytes:
    dims = b"".join(chunk(2, number(1, size)) for size in sizes)
    return chunk(1, name.encode()) + chunk(2, chunk(3, dims))


def test_all_three_forms_of_one_network_hold_the_same_variables() -> None:
    slim, tf1, tf2 = (open_weights(CHECKPOINTS / name) for name in ("tiny_slim", "tiny_hub_tf1", "tiny_hub_tf2"))
    assert (slim.format, tf1.format, tf2.format) == ("TensorFlow checkpoint", "TF1 hub module", "TF2 SavedModel")
    with np.load(CHECKPOINTS / "tiny_expected.npz") as expected:
        names = set(expected["names"].tolist())
    features = {name for name in names if not name.startswith("final_layer/")}
    assert set(slim.arrays) == names
    assert set(tf1.arrays) == set(tf2.arrays) == features  # the module gives features: it has no classifier
    for name in features:
        assert slim.shapes[name] == tf1.shapes[name] == tf2.shapes[name]
        np.testing.assert_array_equal(slim.arrays[name], tf1.arrays[name])
        np.testing.assert_array_equal(slim.arrays[name], tf2.arrays[name])


def test_a_tf1_module_states_its_image_size_variants_and_signatures() -> None:
    info = read_module_info(CHECKPOINTS / "tiny_hub_tf1" / "saved_model.pb")
    assert info.image_size == (64, 64)
    assert info.tags == (frozenset(), frozenset({"train"}))
    assert set(info.signatures) == {"default", "image_feature_vector"}
    assert info.signatures["default"].inputs == {"images": (None, 64, 64, 3)}
    assert info.signatures["default"].outputs == {"default": (None, 160)}
    assert info.signatures["image_feature_vector"].outputs["pnasnet_tiny/Cell_0"] == (None, 8, 8, 40)


def test_a_tf2_saved_model_states_its_image_size_by_its_input() -> None:
    info = read_module_info(CHECKPOINTS / "tiny_hub_tf2" / "saved_model.pb")
    assert info.image_size == (64, 64)
    assert info.tags == (frozenset({"serve"}),)
    assert set(info.signatures) == {"serving_default"}


def test_signatures_are_those_of_the_variant_for_inference(tmp_path: Path) -> None:
    train = chunk(1, chunk(4, b"train")) + chunk(5, chunk(1, b"with_bn_hparams"))
    inference = chunk(5, chunk(1, b"default"))
    (tmp_path / "saved_model.pb").write_bytes(chunk(2, train) + chunk(2, inference))
    info = read_module_info(tmp_path / "saved_model.pb")
    assert info.tags == (frozenset({"train"}), frozenset())
    assert set(info.signatures) == {"default"}


def test_a_module_may_have_sixteen_variants(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(chunk(2, b"") * 16)
    assert len(read_module_info(tmp_path / "saved_model.pb").tags) == 16


def test_an_open_input_size_and_an_unknown_rank_are_none(tmp_path: Path) -> None:
    unknown = chunk(1, b"out") + chunk(2, chunk(3, number(3, 1)))
    signature = chunk(1, tensor("images", -1, -1, -1, 3)) + chunk(2, unknown)
    graph = chunk(5, chunk(1, b"default") + chunk(2, signature))
    (tmp_path / "saved_model.pb").write_bytes(chunk(2, graph))
    info = read_module_info(tmp_path / "saved_model.pb")
    assert info.image_size is None
    assert info.signatures["default"].inputs == {"images": (None, None, None, 3)}
    assert info.signatures["default"].outputs == {"out": None}


@pytest.mark.parametrize(
    ("signatures", "width"),
    [
        ({"default": {"images": None, "default": (None, 960)}}, 960),
        ({"serving_default": {"output_0": (None, 10)}}, 10),
        ({"default": {"default": (None, 960)}, "serving_default": {"output_0": (None, 10)}}, 960),
        ({"default": {"default": (None, 8, 8, 40)}}, None),
        ({"default": {"default": None}}, None),
        ({"default": {}}, None),
        ({"image_feature_vector": {"default": (None, 960)}}, None),
    ],
)
def test_the_width_of_the_default_signature(signatures: dict[str, Any], width: int | None) -> None:
    stated = {name: Signature({}, outputs) for name, outputs in signatures.items()}
    assert HubModuleInfo(None, (), stated, {}).default_width == width


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        number(1, 1),
        chunk(2, b"") * 17,
        chunk(2, chunk(1, number(4, 1))),
        chunk(2, chunk(5, chunk(1, b"default") + chunk(2, chunk(1, tensor("images", -1, 2**40, 2**40, 3))))),
        chunk(
            2,
            chunk(
                4,
                chunk(1, b"hub_module_attachments")
                + chunk(
                    2,
                    chunk(
                        2,
                        chunk(
                            1, chunk(1, b"image_module_info") + chunk(2, chunk(1, number(1, 2**40) + number(2, 331)))
                        ),
                    ),
                ),
            ),
        ),
    ],
)
def test_a_damaged_saved_model_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(CorruptWeightsError, match=r"saved_model\.pb"):
        read_module_info(tmp_path / "saved_model.pb")


def test_a_checkpoint_alone_is_named_by_its_object_graph_too() -> None:
    source = open_weights(CHECKPOINTS / "tiny_hub_tf2" / "variables" / "variables")
    assert "conv0/weights" in source.arrays


def test_a_damaged_object_graph_is_refused(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINTS / "tiny_hub_tf2", tmp_path / "tf2")
    bundle = Bundle(tmp_path / "tf2" / "variables" / "variables")
    assert bundle.read_string("conv0/weights") is None
    data = tmp_path / "tf2" / "variables" / "variables.data-00000-of-00001"
    graph = bundle.read_string(OBJECT_GRAPH)
    assert graph
    flip(data, data.read_bytes().index(graph) + 100)
    with pytest.raises(CorruptWeightsError, match=OBJECT_GRAPH):
        open_weights(tmp_path / "tf2")


def test_two_tensors_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle(CHECKPOINTS / "tiny_hub_tf2" / "variables" / "variables")
    one, two = list(bundle.shapes)[:2]
    graph = b"".join(chunk(1, chunk(2, chunk(2, b"conv0/weights") + chunk(3, key.encode()))) for key in (one, two))
    monkeypatch.setattr(bundle, "read_string", lambda name: graph)
    with pytest.raises(CorruptWeightsError, match="two tensors named conv0/weights"):
        read_object_names(bundle)


def test_a_saved_model_without_variables(tmp_path: Path) -> None:
    shutil.copy(CHECKPOINTS / "tiny_hub_tf2" / "saved_model.pb", tmp_path)
    with pytest.raises(WeightsNotFoundError, match=r"variables\.index does not exist"):
        open_weights(tmp_path)
