"""Names and TF-Hub handles."""

import pytest

from pnasnet.architecture.zoo import HUB_NETWORKS, NETWORKS, find, parse_handle
from pnasnet.errors import UnknownNameError


@pytest.mark.parametrize("version", range(1, 6))
@pytest.mark.parametrize("name", HUB_NETWORKS)
@pytest.mark.parametrize(
    ("kind", "signature"), [("feature_vector", "image_feature_vector"), ("classification", "image_classification")]
)
@pytest.mark.parametrize("prefix", ["", "https://tfhub.dev/", "http://tfhub.dev/"])
def test_every_handle_resolves(prefix: str, kind: str, signature: str, name: str, version: int) -> None:
    assert parse_handle(f"{prefix}google/imagenet/{name}/{kind}/{version}") == (name, signature)


def test_a_handle_without_version_and_a_compressed_one_resolve() -> None:
    assert parse_handle("google/imagenet/pnasnet_large/feature_vector") == ("pnasnet_large", "image_feature_vector")
    url = "https://tfhub.dev/google/imagenet/pnasnet_large/feature_vector/1?tf-hub-format=compressed"
    assert parse_handle(url) == ("pnasnet_large", "image_feature_vector")


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("google/imagenet/pnasnet_larg/feature_vector/1", "did you mean pnasnet_large"),
        ("google/imagenet/pnasnet_large/feature_vectors/1", "did you mean feature_vector"),
        ("google/imagenet/pnasnet_large/feature_vector/6", "versions were 1 to 5"),
    ],
)
def test_a_handle_of_no_module_is_refused(handle: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        parse_handle(handle)


@pytest.mark.parametrize("text", ["pnasnet_large", "weights.safetensors", "https://example.org/model.ckpt"])
def test_other_text_is_no_handle(text: str) -> None:
    assert parse_handle(text) is None


def test_a_typo_gets_the_near_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean pnasnet_large"):
        find("pnasnet_lage")


def test_the_published_sets_have_distinct_names() -> None:
    ids = [weights.id for network in NETWORKS.values() for weights in network.weights]
    assert len(ids) == len(set(ids))
