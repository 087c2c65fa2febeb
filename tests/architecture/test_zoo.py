"""Names and TF-Hub handles."""

import pytest

from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import HUB_VERSIONS, NETWORKS, PUBLISHED, find, find_named, parse_handle
from pnasnet.errors import UnknownNameError

CLASSES = "image_classification"


@pytest.mark.parametrize(("name", "version"), [(n, v) for n, versions in HUB_VERSIONS.items() for v in versions])
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
        (
            "google/imagenet/pnasnet_large/feature_vector/6",
            "pnasnet_large had the versions 1, 2, 3, 4 and 5",
        ),
        ("google/imagenet/nasnet_large/feature_vector/2", "version 2; nasnet_large had the versions 1, 3, 4 and 5"),
        ("https://tfhub.dev/google/imagenet/nasnet_mobile/classification/2", "had the versions 1, 3, 4 and 5"),
        ("google/nasnet/tensorFlow2/mobile/2", "names no .* pass one of these names, or download the model"),
        (
            "https://www.kaggle.com/models/google/pnasnet/TensorFlow1/mobile-classification/1",
            "names no feature-vector or classification module of",
        ),
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


@pytest.mark.parametrize(
    ("name", "size", "classes", "maps", "auxiliary"),
    [
        ("pnasnet_large", 331, 1001, [83, 42, 21, 11], True),
        ("pnasnet_mobile", 224, 1001, [56, 28, 14, 7], True),
        ("pnasnet_cifar", 32, 10, [32, 16, 8], True),
        ("pnasnet_small", 64, 200, [16, 8, 4], False),
        ("pnasnet_tiny", 32, 10, [16, 8, 4], False),
        ("nasnet_large", 331, 1001, [83, 42, 21, 11], True),
        ("nasnet_mobile", 224, 1001, [56, 28, 14, 7], True),
        ("nasnet_cifar", 32, 10, [32, 16, 8], True),
    ],
)
def test_the_named_networks(name: str, size: int, classes: int, maps: list[int], auxiliary: bool) -> None:
    """The sides of images and maps (those of the stem's cells first), the classes, and the auxiliary head."""
    plan = resolve(NETWORKS[name].spec)
    assert plan.spec.image_size == (size, size)
    assert plan.spec.num_classes == classes
    assert list(dict.fromkeys(cell.output.height for cell in plan.cells)) == maps
    assert plan.spec.aux_head == (plan.aux is not None) == auxiliary


def test_the_published_sets_have_distinct_names() -> None:
    ids = [weights.id for network in NETWORKS.values() for weights in network.weights]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("address", "name", "signature"),
    [
        ("nasnet/TensorFlow2/mobile-classification/2", "nasnet_mobile", "image_classification"),
        ("nasnet/tensorFlow1/large-feature-vector/1", "nasnet_large", "image_feature_vector"),
        (
            "nasnet/frameworks/TensorFlow2/variations/large-classification/versions/2",
            "nasnet_large",
            "image_classification",
        ),
        ("pnasnet-large/tensorFlow1/feature-vector/5", "pnasnet_large", "image_feature_vector"),
        ("nasnet/TensorFlow2/mobile-classification", "nasnet_mobile", "image_classification"),
    ],
)
@pytest.mark.parametrize("prefix", ["https://www.kaggle.com/models/", "https://kaggle.com/models/", ""])
def test_kaggle_models_resolve_in_both_forms(prefix: str, address: str, name: str, signature: str) -> None:
    assert parse_handle(f"{prefix}google/{address}") == (name, signature)


def test_every_published_set_is_a_name() -> None:
    for name, record in PUBLISHED.items():
        found = find_named(name)
        assert found is not None
        assert found.weights == record
    assert find_named("nowhere") is None
