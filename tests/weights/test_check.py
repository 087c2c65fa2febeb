import pytest

from pnasnet.errors import WeightsMismatchError
from pnasnet.weights import AUXILIARY_HEAD, CLASSIFIER, check_weights
from pnasnet.weights.arrays import ArrayShape

FEATURES: dict[str, ArrayShape] = {"conv0/weights": (3, 3, 3, 8), "conv0_bn/gamma": (8,)}
AUX: dict[str, ArrayShape] = {"aux_7/aux_logits/proj/weights": (1, 1, 8, 4), "aux_7/aux_logits/FC/biases": (10,)}


def classifier(classes: int, features: int = 8) -> dict[str, ArrayShape]:
    return {"final_layer/FC/weights": (features, classes), "final_layer/FC/biases": (classes,)}


NETWORK = {**FEATURES, **AUX, **classifier(10)}


def test_fitting_weights_are_read_in_the_networks_order() -> None:
    assert check_weights(dict(reversed(NETWORK.items())), NETWORK, origin="x") == tuple(NETWORK)


def test_all_differences_are_in_one_error() -> None:
    found: dict[str, ArrayShape] = {"conv0/weights": (3, 3, 8, 3), "fc.weight": (2,), "b1": (), **classifier(10), **AUX}
    with pytest.raises(WeightsMismatchError) as caught:
        check_weights(found, NETWORK, origin="model.ckpt")
    assert str(caught.value).splitlines() == [
        "model.ckpt does not match the network: 1 variable missing, 1 with another shape, 2 unknown; check that the "
        "model and the weights belong together",
        "missing:",
        "  conv0_bn/gamma",
        "with another shape:",
        "  conv0/weights: 3x3x8x3, not 3x3x3x8",
        "unknown:",
        "  fc.weight",
        "  b1",
    ]


def test_a_long_list_is_cut() -> None:
    with pytest.raises(WeightsMismatchError) as caught:
        check_weights({f"v{i}": () for i in range(50)}, {}, origin="x")
    lines = str(caught.value).splitlines()
    assert "50 unknown" in lines[0]
    assert lines[-1] == "  ... and 30 more"
    assert len(lines) == 23


@pytest.mark.parametrize(
    "name",
    [
        "global_step",
        "conv0/weights/ExponentialMovingAverage",
        "aux_7/aux_logits/FC/biases/ExponentialMovingAverage",
        "conv0/weights/RMSProp",
        "conv0/weights/RMSProp_1",
        "conv0/weights/Momentum",
        "conv0/weights/Adam_1",
        "beta1_power",
    ],
)
def test_training_state_is_ignored(name: str) -> None:
    assert check_weights({**NETWORK, name: (1,)}, NETWORK, origin="x") == tuple(NETWORK)


@pytest.mark.parametrize("name", ["conv0/weights/Momentous", "global_steps", "Adam/weights"])
def test_names_that_only_look_like_training_state_are_variables(name: str) -> None:
    with pytest.raises(WeightsMismatchError, match=f"1 unknown.*\n.*\n  {name}"):
        check_weights({**NETWORK, name: (1,)}, NETWORK, origin="x")


def test_the_auxiliary_head_may_be_missing_or_another_one() -> None:
    without = {**FEATURES, **classifier(10)}
    assert check_weights(without, NETWORK, origin="x") == tuple(without)
    assert check_weights(NETWORK, without, origin="x") == tuple(without)
    part = {name: shape for name, shape in NETWORK.items() if not name.endswith("proj/weights")}
    assert check_weights(part, NETWORK, origin="x") == tuple(without)
    other = {name.replace("proj", "projection"): shape for name, shape in NETWORK.items()}
    assert check_weights(other, NETWORK, origin="x") == tuple(without)
    with pytest.raises(WeightsMismatchError, match="2 variables missing"):
        check_weights(without, NETWORK, origin="x", optional=())


def test_a_classifier_of_another_size_is_skipped_only_on_request() -> None:
    found = {**FEATURES, **classifier(1001)}
    with pytest.raises(WeightsMismatchError, match="2 with another shape"):
        check_weights(found, NETWORK, origin="x")
    both = (AUXILIARY_HEAD, CLASSIFIER)
    assert check_weights(found, NETWORK, origin="x", optional=both) == tuple(FEATURES)
    assert check_weights(FEATURES, NETWORK, origin="x", optional=both) == tuple(FEATURES)
    assert check_weights(found, FEATURES, origin="x", optional=both) == tuple(FEATURES)
    whole = {**FEATURES, **classifier(10)}
    assert check_weights(whole, NETWORK, origin="x", optional=both) == tuple(whole)


def test_an_incomplete_classifier_or_one_of_another_network_is_an_error() -> None:
    narrow = {**FEATURES, **classifier(1001, features=4)}
    with pytest.raises(WeightsMismatchError, match="4x1001, not 8x10"):
        check_weights(narrow, NETWORK, origin="x", optional=(AUXILIARY_HEAD, CLASSIFIER))
    part: dict[str, ArrayShape] = {**FEATURES, "final_layer/FC/biases": (1001,)}
    with pytest.raises(WeightsMismatchError, match="1 variable missing, 1 with another shape"):
        check_weights(part, NETWORK, origin="x", optional=(AUXILIARY_HEAD, CLASSIFIER))
