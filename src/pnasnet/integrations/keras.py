"""Networks as Keras 3 models, with the signatures of `keras.applications`. Import it as `import pnasnet.keras`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import resolve
from ..architecture.spec import NetworkSpec, resized
from ..errors import InputError, MissingExtraError
from ..module.catalogue import find_network
from ..module.open import Model, ModelName, WeightsName, open_model
from ..support.typed import whole_number
from ..weights import CLASSIFIER

try:
    import keras

    from ..lowering.keras_model import Builder
except ImportError as error:
    if error.name == "keras":
        raise MissingExtraError.of("keras", "keras", "pnasnet.keras") from error
    raise MissingExtraError(
        f"Keras cannot import its backend ({error}): set KERAS_BACKEND to one that is installed, such as torch"
    ) from error

if TYPE_CHECKING:
    from ..lowering.keras_model import KerasTensor

PUBLISHED = "imagenet"
"""The value of `weights` for the model's own weights."""

_TOP = "predictions"
_POOLING = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}


def build(
    model: ModelName,
    *,
    include_top: bool = True,
    weights: WeightsName | None = PUBLISHED,
    input_tensor: "KerasTensor | None" = None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    batch_norm_momentum: float = 0.99,
    name: str | None = None,
) -> keras.Model:
    """Return a network as a functional Keras model of images [batch, height, width, 3], RGB in [-1, 1].

    `preprocess_input` scales images to this range. Training mode drops paths, and has dropout before the classifier.

    Args:
        model: the model, as for `pnasnet.Module`: a name, a handle, a file or folder with weights, or a `NetworkSpec`.
        include_top: whether the model ends with the classifier.
        weights: `imagenet` for the model's own weights; None for random ones; or other weights, as for `Module`.
        input_tensor: a Keras tensor to use as input.
        input_shape: (height, width, 3); None for the network's own.
        pooling: without the classifier, `avg` for the features, `max`, or None for the last map.
        classes: number of classes; None for that of the weights. 1000 omits the background of ImageNet's 1001.
        classifier_activation: `softmax`, or None for logits.
        batch_norm_momentum: share of the old value in each update of a moving average.
        name: name of the Keras model; None for that of the network.

    Raises:
        InputError: the model cannot have this shape, pooling or number of classes; and the errors of `Module`.
    """
    if pooling not in (None, *_POOLING):
        raise InputError(f"pooling is {pooling!r}: use 'avg', 'max' or None")
    opened, spec, known = _open(model, weights, input_shape)
    images = keras.Input((*spec.image_size, 3), name="images") if input_tensor is None else input_tensor
    (inputs,) = keras.utils.get_source_inputs(images)
    builder, head = Builder(batch_norm_momentum), None
    result = builder.features(resolve(spec), images)
    if include_top:
        wanted, head = _classifier(opened, spec, classes)
        result = _top(result, wanted, classifier_activation, 1 - spec.dropout_keep)
    elif pooling:
        result = getattr(keras.layers, _POOLING[pooling])(name="global_pool")(result)
    built = keras.Model(inputs, result, name=name or known)
    if opened is not None:
        builder.load(opened.arrays())
    if head is not None:
        built.get_layer(_TOP).set_weights(head)
    return built


def _top(features: "KerasTensor", classes: int, activation: str | None, dropout: float) -> "KerasTensor":
    result = keras.layers.GlobalAveragePooling2D(name="global_pool")(features)
    if dropout > 0:
        result = keras.layers.Dropout(dropout, name="dropout")(result)
    return keras.layers.Dense(classes, activation=activation, name=_TOP)(result)


def _open(
    model: ModelName, weights: WeightsName | None, shape: tuple[int, int, int] | None
) -> tuple[Model | None, NetworkSpec, str]:
    """Return the opened model (None for random weights), the network, and its name."""
    if shape is not None and (len(shape) != 3 or shape[2] != 3 or None in shape):
        raise InputError(f"input_shape is {shape}: use (height, width, 3)")
    size = shape[:2] if shape else None
    if weights is not None:
        own = isinstance(weights, str) and weights == PUBLISHED
        opened = open_model(model, None if own else weights, image_size=size)
        return opened, opened.spec, opened.name
    if isinstance(model, NetworkSpec):
        spec, name = model, "network"
    else:
        network = find_network(str(model))
        spec, name = network.spec, network.name
    return None, resized(spec, size) if size else spec, name


def _classifier(
    opened: Model | None, spec: NetworkSpec, classes: int | None
) -> tuple[int, list[NDArray[np.float32]] | None]:
    """Return the number of classes, and the classifier's kernel and bias; None instead for random ones."""
    stored = spec.num_classes
    wanted = stored if classes is None else whole_number("classes", classes)
    if not wanted:
        raise InputError("the weights have no classifier: pass include_top=False")
    if opened is None or opened.weights is None:
        return wanted, None
    arrays: Mapping[str, Any] = opened.arrays()
    kernel, bias = (arrays[f"{CLASSIFIER}FC/{leaf}"] for leaf in ("weights", "biases"))
    background = opened.weights.label_offset
    if wanted == stored:
        return wanted, [kernel, bias]
    if background and wanted == len(bias) - background:
        return wanted, [kernel[:, background:], bias[background:]]
    raise InputError(
        f"the weights have {stored} classes, not {wanted}: leave out classes, or pass include_top=False and add a "
        "classifier"
    )


def preprocess_input(x: Any) -> Any:
    """Scale images from [0, 255] to [-1, 1], the input of these models, as `keras.applications` does in mode `tf`."""
    return x / 127.5 - 1.0


def _named(model: str, classes: int) -> Any:
    def create(
        input_shape: tuple[int, int, int] | None = None,
        include_top: bool = True,
        weights: WeightsName | None = PUBLISHED,
        input_tensor: "KerasTensor | None" = None,
        pooling: str | None = None,
        classes: int | None = classes,
        classifier_activation: str | None = "softmax",
        name: str | None = None,
    ) -> keras.Model:
        return build(
            model,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
        )

    create.__doc__ = f"Return `build({model!r}, ...)`, with the arguments and defaults of Keras's own `NASNetLarge`."
    return create


NASNetLarge = _named("nasnet_large", 1000)
NASNetMobile = _named("nasnet_mobile", 1000)
PNASNetLarge = _named("pnasnet_large", 1000)
PNASNetMobile = _named("pnasnet_mobile", 1000)
