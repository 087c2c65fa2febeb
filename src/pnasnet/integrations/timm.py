"""Registers all networks in timm, with weights of every origin. `import pnasnet.timm` does so."""

import re
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..architecture.zoo import NETWORKS, NamedNetwork, PublishedWeights
from ..errors import InputError, MissingExtraError
from .image_network import FeatureMaps, ImageNetwork, config, create

try:
    from timm.models import register_model
    from timm.models._builder import resolve_pretrained_cfg
    from timm.models._features import FeatureInfo
    from timm.models._pretrained import DefaultCfg, PretrainedCfg
    from timm.models._registry import is_model
except (ImportError, RuntimeError) as error:  # torchvision raises the latter if it is for another torch
    # There is no extra, because timm needs the torchvision that is built for the installed torch.
    raise MissingExtraError(
        f"pnasnet.timm needs timm, which cannot be imported ({error}): pip install timm, and the torchvision that is "
        "built for your torch"
    ) from error

default_cfgs: dict[str, DefaultCfg] = {}
"""timm's configurations of each network. timm looks up this name."""


def register() -> None:
    """Register all networks in timm, once. A tag chooses the weights: `pnasnet_large.cadene`."""
    for network in NETWORKS.values():
        if not is_model(network.name):
            default_cfgs[network.name] = _configs(network)
            register_model(_entry_point(network))


def _entry_point(network: NamedNetwork) -> Any:
    """Return the function that timm calls for a network."""

    def build(pretrained: bool = False, **options: Any) -> ImageNetwork | FeatureMaps:
        chosen = resolve_pretrained_cfg(
            network.name, options.pop("pretrained_cfg", None), options.pop("pretrained_cfg_overlay", None)
        )
        for name in ("cache_dir", "pretrained_strict"):  # timm's downloader; this package has its own
            options.pop(name, None)
        if (channels := options.pop("in_chans", 3)) != 3:
            raise InputError(f"in_chans={channels}: {network.name} has 3 input channels")
        if (size := options.pop("img_size", None)) is not None:
            options["image_size"] = tuple(size) if isinstance(size, list | tuple) else (size, size)
        if pretrained:
            options.setdefault("weights", _weights(network, chosen))
        features = options.get("features_only", False)
        if "num_classes" not in options and not features and chosen.num_classes:
            options["num_classes"] = chosen.num_classes
        model = create(network.name, pretrained=pretrained, **options)
        model.pretrained_cfg = {**chosen.to_dict(), **model.pretrained_cfg, "architecture": network.name}
        if isinstance(model, FeatureMaps):
            levels = [{**level, "module": ""} for level in model.model.feature_info]
            model.feature_info = FeatureInfo(levels, model.out_indices)
        return model

    build.__name__ = build.__qualname__ = network.name
    build.__doc__ = f"{network.name} as TF-Slim computes it; see `pnasnet.integrations.image_network.create`."
    return build


def _configs(network: NamedNetwork) -> DefaultCfg:
    """Return timm's configurations of a network, one for each published set of weights; the first is the default."""
    records = {_tag(record): record for record in network.weights}
    configs = {tag: PretrainedCfg(**_config(network, record)) for tag, record in records.items()}
    configs = configs or {"": PretrainedCfg(**_config(network, None))}
    return DefaultCfg(tags=deque(configs), cfgs=configs, is_pretrained=bool(records))


def _config(network: NamedNetwork, record: PublishedWeights | None) -> Mapping[str, Any]:
    origin: dict[str, Any] = {}
    if record:
        kind, _, place = record.location.partition(":")
        match kind:
            case "package":
                origin = {"file": str(Path(__file__).parents[1] / "data" / place)}
            case "hf":
                repository, _, file = place.rpartition("/")
                origin = {"hf_hub_id": repository, "hf_hub_filename": file}
            case _:
                origin = {"url": record.location}
    classes = record.num_classes if record else network.spec.num_classes or 0
    common = config(network.spec, record.preset if record else "hub", 1000 if classes == 1001 else classes)
    return {**origin, **common, "license": record.licence.lower() if record else None}


def _tag(record: PublishedWeights) -> str:
    """Return the tag of a set of weights: `tf_slim`, `timm` or `cadene` by its publisher, else its id."""
    for part, tag in {"TF-Slim": "tf_slim", "as timm": "timm", "as Cadene": "cadene"}.items():
        if part in record.origin:
            return tag
    return re.sub(r"\W", "_", record.id)


def _weights(network: NamedNetwork, chosen: PretrainedCfg) -> Any:
    """Return the weights of a configuration: the user's file, or a published set by its tag."""
    records = {_tag(record): record.id for record in network.weights}
    known = default_cfgs[network.name].cfgs
    if chosen.file and chosen.file not in {each.file for each in known.values()}:
        return chosen.file
    if chosen.tag in records:
        return records[chosen.tag]
    return network.weights[0].id if network.weights else None
