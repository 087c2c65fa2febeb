"""Frozen SavedModels: TensorFlow itself reads them in tests/tensorflow."""

from pathlib import Path

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.errors import CorruptWeightsError, OutputError
from pnasnet.lowering import saved_model
from pnasnet.module.export import Export
from pnasnet.weights import open_weights
from pnasnet.weights.bundle import Bundle
from pnasnet.weights.saved_model import OBJECT_GRAPH, read_module_info
from pnasnet.weights.wire import ParsedMessage, read_varint

from tests.helpers.weights_files import CHECKPOINTS, small_disk

HUB = CHECKPOINTS / "tiny_hub_tf1"


def export(module: Module, folder: Path, *, overwrite: bool = False) -> Path:
    wanted = Export(folder, "saved_model", overwrite=overwrite)
    wanted.check()
    return wanted.write(module).path


@pytest.mark.parametrize("name", ["pnasnet_tiny", str(HUB)])
def test_a_module_opens_again_with_equal_features(name: str, tmp_path: Path) -> None:
    module = Module(name)
    again = Module(str(export(module, tmp_path / "model")))
    assert again.model.checksum == module.model.checksum
    assert again.model.spec == module.model.spec
    assert again.get_signature_names() == module.get_signature_names()
    images = np.random.default_rng(0).random((2, *module.image_size, 3), np.float32)
    np.testing.assert_array_equal(again(images), module(images))
    assert open_weights(tmp_path / "model").format == "frozen SavedModel"


def test_it_states_what_the_original_modules_did(tmp_path: Path) -> None:
    info = read_module_info(export(Module("pnasnet_tiny"), tmp_path / "model") / "saved_model.pb")
    assert info.image_size == (32, 32)
    assert info.tags == (frozenset({"serve"}),)
    assert set(info.signatures) == {"default", "image_feature_vector", "image_classification", "serving_default"}
    assert info.signatures["image_classification"].inputs == {"images": (None, 32, 32, 3)}
    outputs = info.signatures["image_classification"].outputs
    assert (outputs["default"], outputs["Logits"], outputs["Cell_0"]) == ((None, 10), (None, 10), (None, 16, 16, 240))
    assert info.signatures["serving_default"].outputs == {"default": (None, 960)}
    original = read_module_info(HUB / "saved_model.pb")
    again = read_module_info(export(Module(str(HUB)), tmp_path / "hub") / "saved_model.pb")
    assert again.image_size == original.image_size
    for name, signature in original.signatures.items():
        assert again.signatures[name].inputs == signature.inputs
        stated = {output.rpartition("/")[2]: shape for output, shape in signature.outputs.items()}
        assert again.signatures[name].outputs.items() >= stated.items()


def test_the_checkpoint_holds_the_objects_and_no_variables(tmp_path: Path) -> None:
    folder = export(Module("pnasnet_tiny"), tmp_path / "model")
    bundle = Bundle(folder / "variables" / "variables")
    assert not bundle.shapes
    graph = bundle.read_string(OBJECT_GRAPH)
    assert graph
    children = [[child.text(2) for child in node.messages(1)] for node in ParsedMessage(graph, "").messages(1)]
    assert children[0] == ["__call__", "serve", "signatures"]
    assert sorted(children[2]) == ["default", "image_classification", "image_feature_vector", "serving_default"]
    assert len(children) == 3 + 4


def entries(message: ParsedMessage, field: int) -> dict[str, ParsedMessage]:
    return {entry.text(1): entry.message(2) for entry in message.messages(field)}


def stated(file: Path) -> list[tuple[int, list[int], str]]:
    """Return, for each function of `images`: the argument's type, its shape, and its name for the user."""
    found = []
    for function in ParsedMessage(file.read_bytes(), "").message(2).message(2).message(2).messages(1):
        argument = next(function.message(1).messages(2))
        shape = next(entries(function, 5)["_input_shapes"].message(1).messages(7))
        of_first = min((entry.number(1), entry.message(2)) for entry in function.messages(7))[1]
        if argument.text(1) == "images":
            name = entries(of_first, 1)["_user_specified_name"].text(2)
            found.append((argument.number(3), [size.signed(1) for size in shape.messages(2)], name))
    return found


def test_functions_state_their_argument_as_tensorflows_do(tmp_path: Path) -> None:
    original = CHECKPOINTS / "tiny_hub_tf2"
    ours = stated(export(Module(str(original)), tmp_path / "model") / "saved_model.pb")
    assert len(ours) >= 3
    for each in (*stated(original / "saved_model.pb"), *ours):
        assert each == (1, [-1, 64, 64, 3], "images")


def test_the_index_of_the_checkpoint_ends_with_its_last_key(tmp_path: Path) -> None:
    """The key in a table's index is not less than any key of its block: readers search by it."""
    data = (export(Module("pnasnet_tiny"), tmp_path / "model") / "variables" / "variables.index").read_bytes()
    position, numbers = 0, []
    for _ in range(4):  # places and sizes of the two indexes
        number, position = read_varint(memoryview(data[-48:]), position, "")
        numbers.append(number)
    block = data[numbers[2] :][: numbers[3]]
    assert block[:1] == b"\0"  # no prefix shared with a key before it
    assert block[3 : 3 + block[1]] == OBJECT_GRAPH.encode()


def test_equal_weights_write_equal_bytes(tmp_path: Path) -> None:
    first, second = (export(Module("pnasnet_tiny"), tmp_path / name) for name in "ab")
    files = [path.relative_to(first) for path in sorted(first.rglob("*")) if path.is_file()]
    assert len(files) == 3
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_an_existing_folder_is_replaced_only_on_request(tmp_path: Path) -> None:
    module = Module("pnasnet_tiny")
    export(module, tmp_path / "model")
    with pytest.raises(OutputError, match="exists: choose another folder, or pass --overwrite"):
        export(module, tmp_path / "model")
    export(module, tmp_path / "model", overwrite=True)
    with pytest.raises(OutputError, match="File too large"), small_disk():
        export(module, tmp_path / "model", overwrite=True)
    assert Module(str(tmp_path / "model")).model.checksum == module.model.checksum
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_weights_beyond_a_protocol_buffer_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_model, "MAX_BYTES", 2**20)
    with pytest.raises(OutputError, match=r"its 6,\d{3},\d{3} bytes exceed the 1,048,576 that"):
        export(Module("pnasnet_tiny"), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    path = export(Module("pnasnet_tiny"), tmp_path / "model") / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CorruptWeightsError, match=r"saved_model\.pb is damaged"):
        open_weights(tmp_path / "model")
