"""Networks as `nn.Module`s that map normalised images to one tensor, as users of timm and torch.hub expect."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import log2
from typing import Any

from ..architecture.plan import Plan, resolve
from ..architecture.spec import NetworkSpec
from ..errors import InputError, MissingExtraError
from ..images.presets import get_preset
from ..module.catalogue import find_network
from ..module.open import ModelName, WeightsName, open_model
from ..support.arguments import checked
from ..support.text import shown
from ..support.typed import check_range, number, whole_number
from ..weights import CLASSIFIER

try:
    import torch
    from torch import Tensor, fx, nn
    from torch.nn import functional

    from ..lowering.torch_cells import State
    from ..lowering.torch_network import Network
except ImportError as error:
    raise MissingExtraError.of("torch", "torch", "a network for timm or torch.hub") from error

log = logging.getLogger(__name__)

_MAX_CLASSES = 10**7


class ImageNetwork(nn.Module):
    """A network from images [batch, 3, height, width] in [-1, 1] to logits or features, [batch, length].

    It can be scripted (`torch.jit.script`), traced, exported, compiled and deep-copied.

    Attributes:
        backbone: the network without classifier.
        classifier: the classifier; `nn.Identity` if `num_classes` is 0.
        num_classes: number of logits; 0 if it returns features.
        num_features: length of the feature vector.
        pretrained_cfg: size, normalisation and resizing of images, under timm's names.
        feature_info: channels (`num_chs`) and `reduction` of each map of `feature_maps`.
    """

    pretrained_cfg: dict[str, Any]
    global_pool: str

    def __init__(self, plan: Plan, *, num_classes: int = 0, global_pool: str = "avg", drop_rate: float = 0.0) -> None:
        """Create random weights. `drop_rate` is the rate of the dropout before the classifier."""
        super().__init__()
        self.backbone = Network(plan)
        self.num_features = self.head_hidden_size = plan.num_features
        self.head_drop = nn.Dropout(drop_rate)
        self.pretrained_cfg = {}
        self.feature_info = _levels(plan)
        self.reset_classifier(num_classes, global_pool)

    @property
    def default_cfg(self) -> dict[str, Any]:
        """`pretrained_cfg` under timm's older name."""
        return self.pretrained_cfg

    def get_classifier(self) -> nn.Module:
        """Return the classifier."""
        return self.classifier

    @checked
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by one with random weights, or remove it if `num_classes` is 0.

        `global_pool` is `avg`, or empty to return the last map, which needs `num_classes=0`; None keeps its value.
        Raises `InputError` for another value.
        """
        if global_pool is not None:
            self.global_pool = global_pool
        if self.global_pool not in ("avg", "") or (num_classes and not self.global_pool):
            raise InputError(f"global_pool is {self.global_pool!r}: use 'avg', or '' together with num_classes=0")
        self.num_classes = whole_number("num_classes", num_classes, 0)
        check_range("num_classes", num_classes, 0, _MAX_CLASSES)
        self.classifier = _linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; the features if there is no classifier. Raises `InputError` for images of another size."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last map after its ReLU, [batch, channels, height, width]."""
        states = deque(self._states(x), maxlen=1)  # earlier maps are not kept
        return functional.relu(states[0].value)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of a map; with `pre_logits`, its features."""
        if self.global_pool:
            x = self.head_drop(x.mean((2, 3)))
        return x if pre_logits else self.classifier(x)

    def feature_maps(self, x: Tensor, indices: Sequence[int]) -> list[Tensor]:
        """Return the last map of each of these resolutions, after its ReLU. `feature_info` describes all of them."""
        states = list(self._states(x))
        return [functional.relu(states[self.feature_info[index]["state"]].value) for index in indices]

    def load_variables(self, variables: Mapping[str, Any], offset: int = 0) -> None:
        """Load variables, by TF-Slim's names, in TensorFlow's layout.

        `offset` is the number of logits of the background, 0 or 1. A classifier with another number of classes is not
        loaded, which is logged.
        """
        self.backbone.load_variables(variables)
        kernel, bias = (variables.get(f"{CLASSIFIER}FC/{leaf}") for leaf in ("weights", "biases"))
        if not self.num_classes or not isinstance(self.classifier, nn.Linear):
            return
        width = 0 if bias is None else len(bias)
        if kernel is None or bias is None or self.num_classes not in (width, width - offset):
            log.info("the weights' classifier has %d classes: one for %d starts at random", width, self.num_classes)
            return
        first = width - self.num_classes
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(kernel[:, first:].T))
            self.classifier.bias.copy_(torch.from_numpy(bias[first:]))

    def _states(self, x: Tensor) -> Iterator[State]:
        given: Any = x
        if not isinstance(given, fx.Proxy) and not torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            self._check(x)
        return self.backbone.states(x)

    def _check(self, x: Tensor) -> None:
        given: Any = x
        if not isinstance(given, Tensor):
            raise InputError(f"images must be a torch tensor, not {shown(given)}")
        if not x.is_floating_point():
            raise InputError(f"images are {x.dtype}: scale them to floating-point numbers in [-1, 1]")
        height, width = self.backbone.plan.spec.image_size
        if x.ndim != 4 or x.shape[1] != 3 or tuple(x.shape[2:]) != (height, width):
            raise InputError(
                f"images are {list(x.shape)}, but the network is planned for [batch, 3, {height}, {width}]: resize "
                "them, or create the model with image_size=(height, width)"
            )

    def __prepare_scriptable__(self) -> nn.Module:
        return fx.symbolic_trace(self)


class FeatureMaps(nn.Module):
    """A network from images [batch, 3, height, width] in [-1, 1] to its maps at several resolutions, finest first.

    Attributes:
        model: the network.
        feature_info: channels (`num_chs`) and `reduction` of each map.
    """

    def __init__(self, model: ImageNetwork, out_indices: Sequence[int] | None = None) -> None:
        super().__init__()
        count = len(model.feature_info)
        given: Any = range(count) if out_indices is None else out_indices
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InputError(f"out_indices must be a list of whole numbers, not {shown(given)}")
        self.model, self.out_indices = model, tuple(whole_number("out_indices", each, -count) for each in given)
        if not self.out_indices or max(self.out_indices) >= count:
            raise InputError(f"out_indices={self.out_indices} must be some numbers from 0 to {count - 1}")
        self.feature_info = [model.feature_info[index] for index in self.out_indices]
        self.pretrained_cfg = self.default_cfg = model.pretrained_cfg

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps, [batch, channels, height, width]."""
        return self.model.feature_maps(x, self.out_indices)

    def __prepare_scriptable__(self) -> nn.Module:
        return fx.symbolic_trace(self)


@checked
def create(
    model: ModelName,
    *,
    pretrained: bool = True,
    weights: WeightsName | None = None,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    global_pool: str = "avg",
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
) -> ImageNetwork | FeatureMaps:
    """Create a network in inference mode.

    Args:
        model: the model, as for `Module`.
        pretrained: whether to load weights; without, they are random.
        weights: weights other than the published ones.
        num_classes: number of logits; 0 for features. None for the weights' classes without ImageNet's background:
            1000 of 1001. If the weights have another number, the classifier starts with random weights.
        image_size: height and width; None for the network's own.
        features_only: whether the network returns maps at several resolutions.
        out_indices: indices of these resolutions, with `features_only`; None for all.
        global_pool: `avg`, or empty for the last map; see `ImageNetwork.reset_classifier`.
        drop_rate: rate of the dropout before the classifier, in training, in [0, 1]; None for the network's own.
        drop_path_rate: rate at which the last cell's paths are dropped, in training, in [0, 1); None as `drop_rate`.

    Raises as `open_model`, and `InputError` for contradictory or impossible arguments.
    """
    if out_indices is not None and not features_only:
        raise InputError("out_indices chooses maps: pass features_only=True with it")
    if pretrained or weights is not None:
        opened = open_model(model, weights, image_size=image_size)
    else:
        spec = model if isinstance(model, NetworkSpec) else find_network(str(model)).spec
        opened = open_model(spec, image_size=image_size, training=True)
    spec = opened.spec
    offset = opened.weights.label_offset if opened.weights else int(spec.num_classes == 1001)
    own_classes = 0 if features_only else max((spec.num_classes or 0) - offset, 0)
    num_classes = own_classes if num_classes is None else whole_number("num_classes", num_classes, 0)
    if drop_path_rate is not None:
        spec = replace(spec, drop_path_keep=1 - _rate("drop_path_rate", drop_path_rate))
    rate = 1 - spec.dropout_keep if drop_rate is None else _rate("drop_rate", drop_rate)
    plan = resolve(replace(spec, num_classes=None, aux_head=False))
    created = ImageNetwork(plan, num_classes=num_classes, global_pool=global_pool, drop_rate=rate)
    if opened.weights:
        created.load_variables({name: opened.arrays()[name] for name in opened.variables}, offset)
    created.pretrained_cfg = config(spec, opened.preset, num_classes)
    return (FeatureMaps(created, out_indices) if features_only else created).eval()


def config(spec: NetworkSpec, preset: str, num_classes: int) -> dict[str, Any]:
    """Return the preprocessing for a network, under timm's names.

    It is not exact, because timm resizes with antialiasing and TensorFlow does not. `Module.embed` and
    `images.preprocess` are exact.
    """
    chosen = get_preset(preset)
    return {
        "input_size": (3, *spec.image_size),
        "fixed_input_size": True,
        "num_classes": num_classes,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": chosen.resize,
        "crop_pct": chosen.crop,
        "crop_mode": "center" if chosen.resize == "bicubic" else "squash",
        "classifier": "classifier",
    }


def _rate(name: str, value: Any) -> float:
    """Return a share of what is dropped. Raises `InputError` unless it is a number in [0, 1)."""
    rate = number(name, value)
    if not 0 <= rate < 1:
        raise InputError(f"{name} must be in [0, 1), not {rate}")
    return rate


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _levels(plan: Plan) -> list[dict[str, Any]]:
    """Return channels, reduction and index (among the states) of the last map of each resolution, finest first."""
    height = plan.spec.image_size[0]
    outputs = [plan.stem[-1].output, *(cell.output for cell in plan.cells)]
    last = {output.height: (index, output) for index, output in enumerate(outputs)}
    return [
        {"num_chs": output.channels, "reduction": 2 ** round(log2(height / output.height)), "state": index}
        for index, output in last.values()
    ]
