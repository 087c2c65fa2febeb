"""Class names of the published classifiers."""

from collections import Counter
from functools import cache
from importlib.resources import files

from .zoo import Labels

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@cache
def labels(kind: Labels) -> tuple[str, ...]:
    """Return the distinct names of the classes, in order of the logits.

    An ImageNet class is named by its first WordNet lemma, or by all of them if another class has the same first one.
    `imagenet1001` is the class "background", followed by `imagenet1000`. `tiny_imagenet` is the 200 of these that
    Stanford's CS231n chose in 2015.
    """
    if kind == "cifar10":
        return _CIFAR10
    if kind == "tiny_imagenet":
        name_of = dict(zip(wordnet_ids(), _imagenet(), strict=True))
        return tuple(name_of[identity] for identity in _read("tiny_imagenet_ids.txt"))
    return _imagenet() if kind == "imagenet1000" else ("background", *_imagenet())


@cache
def wordnet_ids() -> tuple[str, ...]:
    """Return the WordNet id (such as n01440764) of each of the 1000 ImageNet classes, in the order of the logits."""
    return tuple(identity for identity, _ in _table())


def _imagenet() -> tuple[str, ...]:
    lemmas = [text for _, text in _table()]
    first = [text.partition(",")[0] for text in lemmas]
    shared = {name for name, count in Counter(first).items() if count > 1}
    return tuple(text if name in shared else name for text, name in zip(lemmas, first, strict=True))


def _table() -> list[tuple[str, str]]:
    rows = [line.partition("\t") for line in _read("imagenet_classes.tsv")]
    return [(identity, text) for identity, _, text in rows]


def _read(name: str) -> list[str]:
    lines = files("pnasnet").joinpath("data", name).read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]
