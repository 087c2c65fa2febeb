"""Opens a model: finds the network and the weights of a name, handle, file, folder or mapping, and checks them."""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from ..architecture.cells import whole_number
from ..architecture.identify import identify
from ..architecture.labels import labels as label_names
from ..architecture.network_file import is_network_file, read_network
from ..architecture.plan import Plan, resolve
from ..architecture.spec import NetworkSpec, resized
from ..architecture.zoo import (
    NETWORKS,
    PUBLISHED,
    Labels,
    Named,
    NamedNetwork,
    PublishedWeights,
    SignatureName,
    find_named,
)
from ..errors import CorruptWeightsError, InputError, UnknownNameError, WeightsMismatchError, WeightsNotFoundError
from ..support.arguments import checked
from ..support.paths import exists
from ..support.urls import is_url, redact
from ..weights import AUXILIARY_HEAD, CLASSIFIER, WeightsSource, check_weights, open_weights
from ..weights.fetch import fetch
from ..weights.quantized import QuantizedWeights

log = logging.getLogger(__name__)

ModelName = str | Path | NetworkSpec
WeightsName = str | Path | Mapping[str, Any]

_UNKNOWN = "null"
"""The labels in our metadata if classes have no names, so that 1000 other classes are not mistaken for ImageNet's."""


@dataclass
class Model:
    """A network and weights that match it."""

    name: str
    plan: Plan
    weights: WeightsSource | None
    """None for a network with random weights."""
    variables: tuple[str, ...]
    """The variables to read from `weights`: the network's, except for an auxiliary head or classifier that differs."""
    origin: str
    """The origin of the weights, for messages."""
    labels: tuple[str, ...] | None
    """Class names by logit; None if they are unknown."""
    preset: str = "hub"
    """The preprocessing of the weights."""
    named: bool = True
    """Whether the name is the network's own, not that of its file."""
    default_signature: SignatureName | None = None
    """The default signature, if the handle or the weights state one."""

    @property
    def spec(self) -> NetworkSpec:
        """The description of the network."""
        return self.plan.spec

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights' names, shapes and values, in hexadecimal; `random` without weights."""
        return self.weights.checksum() if self.weights else "random"

    def identified_by(self, recorded: str) -> bool:
        """Return whether a recorded checksum is that of these weights or, as in earlier versions, of their file."""
        return recorded == self.checksum or bool(self.weights and recorded == self.weights.file_checksum())

    @property
    def quantized(self) -> QuantizedWeights | None:
        """The weights, if they are a quantized model's, which has a graph in place of arrays."""
        return self.weights if isinstance(self.weights, QuantizedWeights) else None

    def arrays(self) -> Mapping[str, Any]:
        """Return the weights' arrays in TensorFlow's layout by TF-Slim's names; each is read when it is used.

        Reading one of a quantized model raises `InputError`.
        """
        return self.weights.arrays if self.weights else {}


@dataclass(frozen=True)
class _Found:
    """A network and its weights, before image size and classes are chosen."""

    name: str
    spec: NetworkSpec
    source: WeightsSource | None
    origin: str = "random"
    labels: tuple[str, ...] | None = None
    preset: str = "hub"
    named: bool = True


@dataclass(frozen=True)
class _OpenOptions:
    """Options for opening weights."""

    moving_averages: bool | None
    offline: bool | None


@checked
def open_model(
    model: ModelName,
    weights: WeightsName | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    num_classes: int | None = None,
    training: bool = False,
    moving_averages: bool | None = None,
    offline: bool | None = None,
) -> Model:
    """Find a network and its weights, and check that they match. No array is read yet.

    Args:
        model: the name of a network or of a published set of weights, also timm's names; a handle or URL of TF-Hub or
            Kaggle Models; a file or folder with weights; or a network's description: a `NetworkSpec`, or its `.json`
            file.
        weights: weights to use instead of the default: the name of a published set, or anything that `open_weights`
            accepts.
        image_size: height and width; None for the network's own.
        num_classes: width of a new classifier, for training. A classifier of this width in the weights is kept.
        training: whether to read the auxiliary head, and to allow random weights (a description without weights).
        moving_averages: see `open_weights`; None for the choice of the weights' published evaluation, if it is known.
        offline: whether to download nothing; None reads the environment variable `PNASNET_OFFLINE`.

    Raises:
        UnknownNameError: unknown model.
        SpecError: the network cannot exist: numbers of a wrong type, images that are too small for it.
        InputError: contradictory arguments.
        WeightsError: the weights are missing, damaged, or those of another network.
    """
    options = _OpenOptions(moving_averages, offline)
    named, found = _find(model, weights, options)
    spec = _with_size_and_classes(found, image_size)
    labels = found.labels
    if num_classes is not None and (wanted := whole_number("num_classes", num_classes)) != spec.num_classes:
        if not training:
            raise InputError(f"num_classes={wanted} is a classifier to train: pass trainable=True as well")
        spec, labels = replace(spec, num_classes=wanted), None
    plan = resolve(spec)
    if found.source is None:
        if not training:
            raise WeightsNotFoundError(f"{found.name} has no weights: pass weights=FILE, or train it")
        return Model(found.name, plan, None, (), "random", None)
    if isinstance(found.source, QuantizedWeights):
        _check_quantized(found.source, spec, found.origin, training=training)
    optional = (AUXILIARY_HEAD, CLASSIFIER) if num_classes is not None else (AUXILIARY_HEAD,)
    expected = plan.variables(training=training)
    names = check_weights(found.source.shapes, expected, origin=found.origin, optional=optional)
    signature = (named.signature if named else None) or _stated_signature(found.source)
    return Model(found.name, plan, found.source, names, found.origin, labels, found.preset, found.named, signature)


def with_labels(model: Model, labels: Sequence[str], *, new: bool) -> Model:
    """Return a model with other class names. A `new` classifier is not read from weights for other classes.

    Raises `InputError` unless there is one name for each class, all different.
    """
    is_list = isinstance(labels, Iterable) and not isinstance(labels, str)
    names, count = tuple(labels) if is_list else (), model.spec.num_classes
    if not is_list or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise InputError("labels must be different names, one for each class")
    if len(names) != (count or 0):
        raise InputError(
            f"{len(names):,} labels do not match {count or 0:,} classes: pass one for each, or num_classes"
        )
    others = new and model.labels != names
    variables = [name for name in model.variables if not (others and name.startswith((CLASSIFIER, AUXILIARY_HEAD)))]
    return replace(model, labels=names, variables=tuple(variables))


def _find(model: ModelName, weights: WeightsName | None, options: _OpenOptions) -> tuple[Named | None, _Found]:
    """Find a model; for a known name, also return its record."""
    named = find_named(model) if isinstance(model, str) and (model in NETWORKS or not exists(model)) else None
    if named is None:
        return None, _find_unnamed(model, weights, options)
    default = named.weights.id if named.weights else None
    return named, _find_weights(named.network, default if weights is None else weights, options)


def _find_unnamed(model: ModelName, weights: WeightsName | None, options: _OpenOptions) -> _Found:
    """Find a model without a known name: a description, its file, or a file or folder with weights."""
    if isinstance(model, NetworkSpec):
        return _find_weights(NamedNetwork("network", model), weights, options)
    text = str(model)
    if not text:
        raise InputError("the model has an empty name: name a network, a file or a folder")
    if text in NETWORKS:
        return _find_weights(NETWORKS[text], weights, options)
    if is_network_file(text):
        return _find_weights(read_network(Path(text)), weights, options)
    if "://" in text:
        raise UnknownNameError(
            f"{redact(text)!r} is neither a handle of TF-Hub nor of Kaggle Models: download the file, and pass its path"
        )
    if weights is None and _looks_like_path(text):
        return _open(None, text, options)
    raise UnknownNameError.of("model", text, list(NETWORKS))


def _find_weights(network: NamedNetwork, weights: WeightsName | None, options: _OpenOptions) -> _Found:
    """Open the weights for a network. If it has no published weights, those of all networks are accepted by name."""
    known = {record.id: record for record in network.weights} or PUBLISHED
    if weights is None:
        return _Found(network.name, network.spec, None)
    if isinstance(weights, str) and is_url(weights):
        raise WeightsNotFoundError(f"weights are opened from files: download {redact(weights)}, and pass its path")
    if isinstance(weights, Mapping) or not (isinstance(weights, str) and weights in known):
        if not isinstance(weights, Mapping) and not _looks_like_path(str(weights)):
            raise WeightsNotFoundError(
                f"{weights} is neither a file nor a published set of weights for {network.name} ({', '.join(known)})"
            )
        return _open(network, weights, options)
    record = known[weights]
    source = _open_published(record, options)
    return _Found(network.name, network.spec, source, record.id, label_names(record.labels), record.preset)


def _open_published(record: PublishedWeights, options: _OpenOptions) -> WeightsSource:
    wanted = record.moving_averages if options.moving_averages is None else options.moving_averages
    return open_weights(fetch(record, offline=options.offline), moving_averages=wanted)


def _open(network: NamedNetwork | None, weights: WeightsName, options: _OpenOptions) -> _Found:
    """Open the user's weights. Without a network, the file states it, or it is identified by names and shapes."""
    source = open_weights(weights, moving_averages=options.moving_averages)
    origin = str(source.path) if source.path else "the given mapping"
    if network:
        name, spec = network.name, network.spec
        spec = resized(spec, source.image_size) if source.image_size else spec
    else:
        stated = source.metadata.get("spec")
        spec = _stated_spec(stated, origin) if stated else identify(source.shapes, source.image_size, origin=origin)
        same = (known.name for known in NETWORKS.values() if known.spec == spec)
        name = source.metadata.get("model") or next(same, "")
    preset = source.metadata.get("preset", "hub")
    return _Found(name or Path(origin).stem, spec, source, origin, _labels(source), preset, named=bool(name))


def is_path(text: str) -> bool:
    """Return whether weights exist at this path."""
    return exists(text) or exists(f"{text}.index")


def absolute(name: Any) -> Any:
    """Return the absolute path of existing weights, which is valid in every working directory; others unchanged."""
    if isinstance(name, str | Path) and name not in NETWORKS and is_path(str(name)):
        return str(Path(name).absolute())
    return name


def _looks_like_path(text: str) -> bool:
    """Return whether the text is a path or looks like one, so that errors speak of a file, not of a name."""
    path = Path(text)
    return is_path(text) or os.path.lexists(text) or "/" in text or len(path.parts) > 1 or bool(path.suffix)


def _with_size_and_classes(found: _Found, image_size: tuple[int, int] | None) -> NetworkSpec:
    """Return the network with the wanted image size and the weights' number of classes."""
    spec, source = found.spec, found.source
    if source and source.classes != spec.num_classes:
        log.info("%s has %s classes; the network usually has %s", found.origin, source.classes, spec.num_classes)
        spec = replace(spec, num_classes=source.classes)
    return resized(spec, image_size) if image_size is not None else spec


def _check_quantized(source: QuantizedWeights, spec: NetworkSpec, origin: str, *, training: bool) -> None:
    """Raise an error if a quantized model, whose graph is fixed, is to be trained or used as another network."""
    made_from = source.metadata.get("origin", "the model")
    if training:
        raise InputError(f"{origin} is quantized, for inference alone: train its source, {made_from}")
    if spec != source.spec:
        sizes = ["x".join(map(str, each.image_size)) for each in (source.spec, spec)]
        what = f"images of {sizes[0]}, not {sizes[1]}" if sizes[0] != sizes[1] else "another network"
        raise WeightsMismatchError(f"{origin} was quantized for {what}: quantize {made_from} again for this one")


def _stated_signature(source: WeightsSource) -> SignatureName | None:
    """Return the default signature of a SavedModel, by the length of its output; None if it has both kinds."""
    if source.hub is None or source.hub.default_width is None:
        return None
    if source.hub.default_width == source.classes:
        return "image_classification"
    return None if "image_classification" in source.hub.signatures else "image_feature_vector"


def _stated_spec(text: str, origin: str) -> NetworkSpec:
    try:
        return NetworkSpec.from_dict(json.loads(text))
    except (ValueError, RecursionError, AttributeError) as error:
        raise CorruptWeightsError(f"{origin} does not describe a possible network: {error}") from error


def _labels(source: WeightsSource) -> tuple[str, ...] | None:
    """Return the class names that the weights state, or ImageNet's, recognised by their number."""
    stated = source.metadata.get("labels")
    if stated == _UNKNOWN:
        return None
    try:
        names = _stated_labels(stated) if stated else ()
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptWeightsError(f"{source.path} has labels that cannot be read: {error}") from error
    if names and len(names) != source.classes:
        raise CorruptWeightsError(f"{source.path} has {len(names)} labels for {source.classes} classes")
    if not names and source.classes in (1000, 1001):
        return label_names("imagenet1001" if source.classes == 1001 else "imagenet1000")
    return names or None


def _stated_labels(text: str) -> tuple[str, ...]:
    if text in get_args(Labels):
        return label_names(cast(Labels, text))
    return tuple(str(name) for name in json.loads(text))


def metadata(model: Model) -> dict[str, Any]:
    """Return the metadata for `write_weights`, from which `open_model` restores the model.

    They depend on the weights alone, not on the path or format of their file.
    """
    classes, source = model.spec.num_classes, model.weights
    origin = model.origin
    if source and origin not in PUBLISHED:
        origin = source.metadata.get("origin", "converted")
    return {
        "model": model.name if model.named else "",
        "spec": json.dumps(model.spec.to_dict()),
        "origin": origin,
        "classes": classes,
        "label_offset": source.label_offset if source and source.classes == classes else int(classes == 1001),
        "extra": {"preset": model.preset, "labels": json.dumps(model.labels) if model.labels else _UNKNOWN},
    }
