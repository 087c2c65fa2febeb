"""Named networks, and the weights published for them.

Sources: TF-Slim's `pnasnet.py`, `nasnet.py` and its table of pre-trained models; the pages of the TF-Hub modules.
"""

import re
from dataclasses import dataclass
from typing import Literal

from ..errors import UnknownNameError
from ..support.urls import redact
from .cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5
from .spec import NetworkSpec

Labels = Literal["imagenet1001", "imagenet1000", "tiny_imagenet", "cifar10"]
SignatureName = Literal["image_feature_vector", "image_classification"]

_SLIM = "https://storage.googleapis.com/download.tensorflow.org/models/"
_CADENE = "http://data.lip6.fr/cadene/pretrainedmodels/"


@dataclass(frozen=True)
class PublishedWeights:
    """One set of published weights: its location, its contents, and how to recognise it."""

    id: str
    """Name of the set, unique in the zoo."""
    origin: str
    """Who trained the weights, and who published them."""
    location: str
    """`package:FILE` in this package, an HTTP(S) URL, or `hf:OWNER/REPOSITORY/FILE` on Hugging Face."""
    labels: Labels
    licence: str = "Apache-2.0"
    """Licence of the weights, as published by those who trained them."""
    sha256_head: str = ""
    """First digits of the file's SHA-256; empty if none was published."""
    revision: str | None = None
    """Commit of the Hugging Face repository; None if it is not pinned."""
    top1: float | None = None
    """Published top-1 accuracy in percent, on its data set's validation or test images."""
    top5: float | None = None
    preset: str = "hub"
    """The default preprocessing."""
    moving_averages: bool | None = None
    """False if the published evaluation used the variables themselves, although the file has their moving averages.

    None for the default of `open_weights`, which is TF-Slim's (`--moving_average_decay=0.9999`,
    tensorflow/models#2778).
    """

    @property
    def num_classes(self) -> int:
        """Width of the classifier: 1001 if class 0 is the background, 1000 if that row was dropped."""
        return {"imagenet1001": 1001, "imagenet1000": 1000, "tiny_imagenet": 200, "cifar10": 10}[self.labels]

    @property
    def shipped(self) -> bool:
        """Whether the weights are part of the package."""
        return self.location.startswith("package:")


@dataclass(frozen=True)
class NamedNetwork:
    """A network with a name."""

    name: str
    spec: NetworkSpec
    weights: tuple[PublishedWeights, ...] = ()
    """Published weights; the first set is the default."""

    @property
    def sets(self) -> list[str]:
        """The names of the published sets."""
        return [weights.id for weights in self.weights]


def _slim(name: str, top1: float, top5: float, moving_averages: bool | None = None) -> PublishedWeights:
    return PublishedWeights(
        name, "Google (TF-Slim)", f"{_SLIM}{name}.tar.gz", "imagenet1001",
        top1=top1, top5=top5, moving_averages=moving_averages,
    )  # fmt: skip


def _timm(name: str, revision: str | None, top1: float, top5: float) -> PublishedWeights:
    location = f"hf:timm/{name}/model.safetensors"
    return PublishedWeights(
        f"timm/{name}", "Google, as timm", location, "imagenet1000", revision=revision, top1=top1, top5=top5
    )


def _cadene(name: str, top1: float | None, top5: float | None) -> PublishedWeights:
    head, address = name.rpartition("-")[2], f"{_CADENE}{name}.pth"
    return PublishedWeights(name, "Google, as Cadene", address, "imagenet1001", sha256_head=head, top1=top1, top5=top5)


_NETWORKS = (
    NamedNetwork(
        "pnasnet_large",
        NetworkSpec(PNASNET5, 12, 216, (331, 331), 1001, drop_path_keep=0.6, dropout_keep=0.5),
        (
            # With the plain variables, the author of the first PyTorch port measured TensorFlow's accuracy.
            _slim("pnasnet-5_large_2017_12_13", 82.9, 96.2, moving_averages=False),
            _timm("pnasnet5large.tf_in1k", "f9a5fe500f179855bb3b97d9550b32b2cc78c0da", 82.9, 96.2),
            _cadene("pnasnet5large-bf079911", 82.736, 95.992),
        ),
    ),
    NamedNetwork(
        "pnasnet_mobile",
        NetworkSpec(PNASNET5, 9, 54, (224, 224), 1001, stem_multiplier=1.0, dropout_keep=0.5),
        (_slim("pnasnet-5_mobile_2017_12_13", 74.2, 91.9),),
    ),
    NamedNetwork(
        "pnasnet_cifar",
        NetworkSpec(
            PNASNET5, 9, 48, (32, 32), 10, stem="cifar", epsilon=1e-5, drop_path_keep=0.6, weight_decay=5e-4
        ),
    ),
    NamedNetwork(
        "pnasnet_small",
        NetworkSpec(
            PNASNET5, 4, 96, (64, 64), 200,
            stem_multiplier=1.0, reductions=1, weight_decay=5e-4, aux_head=False,
        ),
        (PublishedWeights("pnasnet_small", "this project", "package:pnasnet_small.safetensors", "tiny_imagenet"),),
    ),
    NamedNetwork(
        "pnasnet_tiny",
        NetworkSpec(
            PNASNET5, 4, 48, (32, 32), 10,
            stem="cifar", stem_multiplier=1.0, stem_stride=2, weight_decay=5e-4, aux_head=False,
        ),
        (PublishedWeights("pnasnet_tiny", "this project", "package:pnasnet_tiny.safetensors", "cifar10"),),
    ),
    NamedNetwork(
        "nasnet_large",
        NetworkSpec(
            NASNET_A_NORMAL, 18, 168, (331, 331), 1001, NASNET_A_REDUCTION,
            drop_path_keep=0.7, dropout_keep=0.5, weight_decay=5e-5,
        ),
        (
            _slim("nasnet-a_large_04_10_2017", 82.7, 96.2),
            _timm("nasnetalarge.tf_in1k", None, 82.7, 96.2),
            _cadene("nasnetalarge-a1897284", None, None),
        ),
    ),
    NamedNetwork(
        "nasnet_mobile",
        NetworkSpec(
            NASNET_A_NORMAL, 12, 44, (224, 224), 1001, NASNET_A_REDUCTION,
            stem_multiplier=1.0, skip_reduction_input=False, dropout_keep=0.5,
        ),
        (_slim("nasnet-a_mobile_04_10_2017", 74.0, 91.6),),
    ),
    NamedNetwork(
        "nasnet_cifar",
        NetworkSpec(
            NASNET_A_NORMAL, 18, 32, (32, 32), 10, NASNET_A_REDUCTION, "cifar",
            skip_reduction_input=False, epsilon=1e-5, drop_path_keep=0.6, weight_decay=5e-4,
        ),
    ),
)  # fmt: skip

NETWORKS = {network.name: network for network in _NETWORKS}
"""All named networks."""

PUBLISHED = {
    **{record.id: record for network in _NETWORKS for record in network.weights},
    **{network.name: network.weights[0] for network in _NETWORKS if network.weights},
}
"""The published sets of weights by name; the name of a network refers to its first set."""

HUB_VERSIONS = {"pnasnet_large": (1, 2, 3, 4, 5), "nasnet_large": (1, 3, 4, 5), "nasnet_mobile": (1, 3, 4, 5)}
"""The networks that were TF-Hub modules, and the versions of these modules."""

_HANDLE = re.compile(
    r"(?:https?://(?:www\.)?tfhub\.dev/)?google/imagenet/(?P<name>[^/]+)/(?P<kind>[^/?]+)(?:/(?P<version>\d+))?/?(?:\?.*)?"
)
_KAGGLE = re.compile(
    r"(?:https?://(?:www\.)?kaggle\.com/models/)?google/(?P<model>p?nasnet[^/]*)"
    r"/(?:frameworks/)?tensorflow[12]?/(?:variations/)?(?P<variation>[^/?]+)(?:/(?:versions/)?\d+)?/?(?:\?.*)?",
    re.IGNORECASE,
)
_TIMM = re.compile(r"(?:hf[-_]hub:)?(?:timm/)?(?P<name>p?nasnet(?:5|a)large)(?:\.tf_in1k)?")
_SIGNATURES: dict[str, SignatureName] = {
    "feature_vector": "image_feature_vector",
    "classification": "image_classification",
}


@dataclass(frozen=True)
class Named:
    """The network and weights to which the name of a model refers."""

    network: NamedNetwork
    weights: PublishedWeights | None
    """The set of weights; None for a network without published weights."""
    signature: SignatureName | None = None
    """The default signature, if the name is a handle of TF-Hub or Kaggle Models."""


def find(name: str) -> NamedNetwork:
    """Return the network called `name`. Raises `UnknownNameError`, with the nearest names."""
    if name not in NETWORKS:
        raise UnknownNameError.of("model", name, list(NETWORKS))
    return NETWORKS[name]


def find_named(name: str) -> Named | None:
    """Return the network and weights to which a name refers, or None if the name is unknown.

    Known are the names of networks and of published sets of weights, timm's names (`pnasnet5large`,
    `hf-hub:timm/pnasnet5large.tf_in1k`), and handles and URLs of TF-Hub and Kaggle Models. Raises `UnknownNameError`
    for a handle of a module that never existed.
    """
    if name in NETWORKS:
        return _named(name, None)
    if handle := parse_handle(name):
        return _named(*handle)
    if match := _TIMM.fullmatch(name):
        name = f"timm/{match['name']}.tf_in1k"
    for network in _NETWORKS:
        if name in network.sets:
            return Named(network, PUBLISHED[name])
    return None


def _named(network: str, signature: SignatureName | None) -> Named:
    return Named(NETWORKS[network], PUBLISHED.get(network), signature)


def parse_handle(text: str) -> tuple[str, SignatureName] | None:
    """Return the name of the network and the default signature for a TF-Hub or Kaggle handle or URL; None otherwise.

    The version makes no difference: inference as in version 1, training as corrected in versions 2 and 3. Raises
    `UnknownNameError` for a handle of a module that never existed.
    """
    if match := _KAGGLE.fullmatch(text):
        return _parse_kaggle(text, match["model"], match["variation"])
    if not (match := _HANDLE.fullmatch(text)):
        return None
    name, kind = match["name"], match["kind"]
    if name not in HUB_VERSIONS:
        raise UnknownNameError.of("TF-Hub module", name, tuple(HUB_VERSIONS))
    if kind not in _SIGNATURES:
        raise UnknownNameError.of("TF-Hub module kind", kind, tuple(_SIGNATURES))
    versions = HUB_VERSIONS[name]
    if int(match["version"] or 1) not in versions:
        known = f"{', '.join(map(str, versions[:-1]))} and {versions[-1]}"
        raise UnknownNameError(f"{redact(text)!r} has version {match['version']}; {name} had the versions {known}")
    return name, _SIGNATURES[kind]


def _parse_kaggle(text: str, model: str, variation: str) -> tuple[str, SignatureName]:
    """Return network and signature for names such as `nasnet` and `mobile-classification`. See `parse_handle`."""
    words = f"{model}-{variation}".lower().replace("_", "-")
    family = "pnasnet" if words.startswith("pnasnet") else "nasnet"
    size = next((size for size in ("large", "mobile") if size in words.split("-")), None)
    kind = next((kind for kind in _SIGNATURES if kind.replace("_", "-") in words), None)
    if not kind or f"{family}_{size}" not in HUB_VERSIONS:
        known = ", ".join(HUB_VERSIONS)
        raise UnknownNameError(
            f"{redact(text)!r} names no feature-vector or classification module of {known}: pass one of these names, "
            "or download the model and pass its .tar.gz"
        )
    return f"{family}_{size}", _SIGNATURES[kind]
