"""From what a user names to a network with its weights: names, TF-Hub handles, files, folders, mappings."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..architecture.identify import identify
from ..architecture.labels import labels as label_names
from ..architecture.network_file import is_network_file, read_network
from ..architecture.plan import Plan, resolve
from ..architecture.spec import NetworkSpec, resized
from ..architecture.zoo import NETWORKS, PUBLISHED, PublishedWeights, Signature, find, parse_handle
from ..errors import CorruptWeightsError, InputError, UnknownNameError, WeightsNotFoundError
from ..weights import AUXILIARY_HEAD, CLASSIFIER, WeightsSource, check_weights, open_weights
from ..weights.fetch import fetch

log = logging.getLogger(__name__)

ModelName = str | Path | NetworkSpec
WeightsName = str | Path | Mapping[str, Any]

_UNKNOWN = "null"
"""What a file states as labels where its classes have no names: 1000 of one's own must not be taken for ImageNet's."""


@dataclass
class Model:
    """A network and the weights that were checked to be its."""

    name: str
    plan: Plan
    weights: WeightsSource | None
    """None for a network whose weights are still random."""
    variables: tuple[str, ...]
    """The variables to take from `weights`; without the auxiliary head or the classifier where they are not there."""
    origin: str
    """Where the weights come from, for a person."""
    labels: tuple[str, ...] | None
    """Class names by logit, where they are known."""
    preset: str = "hub"
    """The preprocessing that the weights ask for."""
    handle_signature: Signature | None = None
    """The default signature, where the model was named by a TF-Hub handle."""

    @property
    def spec(self) -> NetworkSpec:
        """What the network is."""
        return self.plan.spec

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights in hexadecimal, or `random`."""
        return self.weights.checksum() if self.weights else "random"

    def arrays(self) -> Mapping[str, Any]:
        """Return the weights' arrays, each read when it is asked for: TF-Slim's names, TensorFlow's layout."""
        return self.weights.arrays if self.weights else {}


def open_model(
    model: ModelName,
    weights: WeightsName | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    num_classes: int | None = None,
    training: bool = False,
    offline: bool | None = None,
) -> Model:
    """Find a network and its weights, and check that they belong together; no array is read yet.

    Args:
        model: the name of a network, a TF-Hub handle or URL, a file or folder with weights, or a network's description:
            a `NetworkSpec`, or the `.json` file of one.
        weights: where the weights are, if not where the zoo says: the name of another published set, anything that
            `open_weights` takes, or a mapping from TF-Slim's variable names to arrays in TensorFlow's layout.
        image_size: height and width, if not the network's own.
        num_classes: a new classifier's width, for training; the one in the weights is then left out if it differs.
        training: whether the auxiliary head is wanted too, and random weights are allowed (a description alone).
        offline: never download; None asks the environment.

    Raises:
        UnknownNameError: no such model; SpecError: no such network; InputError: arguments that contradict each other.
        WeightsError: the weights are not there, damaged, or another network's.

    """
    found = _find(model, weights, offline)
    spec = _spec(found, image_size)
    if num_classes is not None and num_classes != spec.num_classes:
        if not training:
            raise InputError(f"num_classes={num_classes} makes a classifier to be trained; give trainable=True as well")
        spec = replace(spec, num_classes=num_classes)
        found.labels = None
    plan = resolve(spec)
    if found.source is None:
        if not training:
            raise WeightsNotFoundError(f"{found.name} has no weights; hand them over as weights=FILE, or train it")
        return Model(found.name, plan, None, (), "random", None)
    optional = (AUXILIARY_HEAD, CLASSIFIER) if num_classes is not None else (AUXILIARY_HEAD,)
    expected = plan.variables(training=training)
    names = check_weights(found.source.shapes, expected, origin=found.origin, optional=optional)
    return Model(found.name, plan, found.source, names, found.origin, found.labels, found.preset, found.signature)


@dataclass
class _Found:
    """What a name led to, before sizes and classes are settled."""

    name: str
    spec: NetworkSpec | None
    source: WeightsSource | None
    origin: str = "random"
    labels: tuple[str, ...] | None = None
    preset: str = "hub"
    signature: Signature | None = None


def _find(model: ModelName, weights: WeightsName | None, offline: bool | None) -> _Found:
    if isinstance(model, NetworkSpec):
        return _find_for(model, weights, offline)
    handle = parse_handle(str(model)) if isinstance(model, str) else None
    name = handle[0] if handle else str(model)
    if is_network_file(name):
        network = read_network(Path(name))
        name = network.name
    elif name in NETWORKS:
        network = find(name)
    elif weights is not None or not _is_path(name):
        raise UnknownNameError.of("model", name, list(NETWORKS))
    else:
        return _opened(Path(name).stem, None, name)
    published = {record.id: record for record in network.weights}
    if weights is None and not published:
        return _Found(name, network.spec, None)
    if weights is None:
        record = next(iter(published.values()), None)
    else:
        record = published.get(weights) if isinstance(weights, str) else None
    if record:
        found = _published(network.spec, name, record, offline)
    else:
        assert weights is not None
        if not isinstance(weights, Mapping) and not _is_path(str(weights)):
            known = ", ".join(published) or "it has none"
            raise WeightsNotFoundError(
                f"{weights} is neither a file nor a published set of weights of {name} ({known})"
            )
        found = _opened(name, network.spec, weights)
    found.signature = handle[1] if handle else None
    return found


def _find_for(spec: NetworkSpec, weights: WeightsName | None, offline: bool | None) -> _Found:
    """Find the weights of a network that has no name, and so no sets of its own."""
    if weights is None:
        return _Found("network", spec, None)
    if isinstance(weights, str) and weights in PUBLISHED:
        return _published(spec, "network", PUBLISHED[weights], offline)
    if isinstance(weights, str) and not _is_path(weights):
        raise UnknownNameError.of("file or published set of weights", weights, list(PUBLISHED))
    return _opened("network", spec, weights)


def _is_path(text: str) -> bool:
    path = Path(text)
    return path.exists() or path.with_name(f"{path.name}.index").exists() or len(path.parts) > 1 or bool(path.suffix)


def _published(spec: NetworkSpec, name: str, record: PublishedWeights, offline: bool | None) -> _Found:
    source = open_weights(fetch(record, offline=offline))
    return _Found(name, spec, source, record.id, label_names(record.labels), record.preset)


def _opened(name: str, spec: NetworkSpec | None, weights: WeightsName) -> _Found:
    """Open weights that a user handed over; what they say of themselves fills in what the user did not."""
    source = open_weights(weights)
    origin = str(source.path) if source.path else "the given mapping"
    stated = source.metadata.get("spec")
    if spec is None:
        spec = _stated_spec(stated, origin) if stated else identify(source.shapes, source.image_size, origin=origin)
        name = source.metadata.get("model") or next((n.name for n in NETWORKS.values() if n.spec == spec), name)
    elif source.image_size and source.image_size != spec.image_size:
        spec = resized(spec, source.image_size)
    return _Found(name, spec, source, origin, _labels(source), source.metadata.get("preset", "hub"))


def _stated_spec(text: str, origin: str) -> NetworkSpec:
    try:
        return NetworkSpec.from_dict(json.loads(text))
    except (ValueError, RecursionError, AttributeError) as error:
        raise CorruptWeightsError(f"{origin} describes no network that can be built: {error}") from error


def _labels(source: WeightsSource) -> tuple[str, ...] | None:
    """Return the class names that the weights state, or ImageNet's by their number."""
    stated = source.metadata.get("labels")
    if stated == _UNKNOWN:
        return None
    try:
        names = _stated_labels(stated) if stated else ()
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptWeightsError(f"{source.path} states labels that cannot be read: {error}") from error
    if names and len(names) != source.classes:
        raise CorruptWeightsError(f"{source.path} states {len(names)} labels for {source.classes} classes")
    if not names and source.classes in (1000, 1001):
        return label_names("imagenet1001" if source.classes == 1001 else "imagenet1000")
    return names or None


def _stated_labels(text: str) -> tuple[str, ...]:
    if text in ("imagenet1001", "imagenet1000", "cifar10"):
        return label_names(text)
    return tuple(str(name) for name in json.loads(text))


def _spec(found: _Found, image_size: tuple[int, int] | None) -> NetworkSpec:
    """Settle the image size and, by the weights, the number of classes."""
    assert found.spec is not None
    spec = found.spec
    if found.source and found.source.classes != spec.num_classes:
        log.info(
            "%s has %s classes, the network's usual number is %s", found.origin, found.source.classes, spec.num_classes
        )
        spec = replace(spec, num_classes=found.source.classes)
    return resized(spec, image_size) if image_size else spec


def metadata(model: Model) -> dict[str, Any]:
    """Return what `write_weights` says of a model, so that `open_model` finds all of it again."""
    classes, source = model.spec.num_classes, model.weights
    return {
        "model": model.name,
        "spec": json.dumps(model.spec.to_dict()),
        "origin": model.origin,
        "classes": classes,
        "label_offset": source.label_offset if source and source.classes == classes else int(classes == 1001),
        "extra": {"preset": model.preset, "labels": json.dumps(model.labels) if model.labels else _UNKNOWN},
    }
