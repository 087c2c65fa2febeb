"""Modules with the interface of TF-Hub's PNASNet and NASNet, in both formats, made with TensorFlow.

They have variables, a training graph, update operations and L2 terms, which the exported SavedModels lack.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pnasnet.architecture.layers import (
    BatchNorm,
    Conv,
    Dense,
    FactorizedReduction,
    GlobalPool,
    Layer,
    Padding,
    Pool,
    Relu,
    SeparableConv,
)
from pnasnet.architecture.plan import Branch, CellPlan, Plan

Tensor = Any
PREFIX = "network/"
"""Of the endpoints' names; the published modules had one, too."""
MOMENTUM = 0.99
_NO_PADDING = Padding()


class Network:
    """A plan as TensorFlow operations.

    Args:
        plan: the network.
        variables: by TF-Slim's name.
        training: whether batch normalization uses the batch's moments, and paths are dropped.
        momentum: share of the old value in each update of a moving average.
    """

    def __init__(self, plan: Plan, variables: Mapping[str, Any], *, training: bool, momentum: Any) -> None:
        self._plan, self._variables = plan, variables
        self._training, self._momentum = training, momentum
        self.updates: list[tuple[Any, Tensor]] = []
        """Moving averages and their next values."""

    def endpoints(self, images: Tensor) -> dict[str, Tensor]:
        """Return every endpoint of images in [0, 1], by TF-Slim's name."""
        plan, found = self._plan, dict[str, Tensor]()
        states = [self._chain(plan.stem, 2 * images - 1)]
        if plan.spec.stem == "cifar":
            found["Stem"] = states[0]
        for cell in plan.cells:
            states.append(self._cell(cell, states[-1], states[-cell.lookback]))
            if cell.endpoint:
                found[cell.endpoint] = states[-1]
        found["global_pool"] = self._chain(plan.pool, states[-1])
        if plan.classifier:
            found["Logits"] = self._layer(plan.classifier, found["global_pool"])
        return found

    def _cell(self, cell: CellPlan, current: Tensor, previous: Tensor) -> Tensor:
        states = [self._chain(cell.entry[0], current), self._chain(cell.entry[1], previous)]
        for block in cell.blocks:
            left, right = (self._path(branch, states, cell.keep_probability) for branch in (block.left, block.right))
            states.append(left + right)
        return tf.concat([self._chain(branch.layers, states[branch.source]) for branch in cell.concat], 3)

    def _path(self, branch: Branch, states: Sequence[Tensor], keep: float) -> Tensor:
        result = self._chain(branch.layers, states[branch.source])
        if self._training and branch.drop_path and keep < 1:
            result = tf.nn.dropout(result, rate=1 - keep, noise_shape=[tf.shape(result)[0], 1, 1, 1])
        return result

    def _chain(self, layers: Sequence[Layer], x: Tensor) -> Tensor:
        for layer in layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Layer, x: Tensor) -> Tensor:
        match layer:
            case Relu():
                return tf.nn.relu(x)
            case Pool():
                pool = {"max": tf.nn.max_pool2d, "avg": tf.nn.avg_pool2d}[layer.kind]
                return pool(x, layer.kernel, layer.stride, _padding(layer.padding))
            case GlobalPool():
                return tf.reduce_mean(x, [1, 2])
            case Conv():
                return self._conv(f"{layer.scope}/weights", x, layer.stride, layer.padding, layer.dilation)
            case SeparableConv():
                kernel, steps = self._variables[f"{layer.scope}/depthwise_weights"], [1, layer.stride, layer.stride, 1]
                x = tf.nn.depthwise_conv2d(x, kernel, steps, _padding(layer.padding))
                return self._conv(f"{layer.scope}/pointwise_weights", x)
            case BatchNorm():
                return self._batch_norm(layer, x)
            case FactorizedReduction():
                moved = tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]])[:, 1:, 1:]
                paths = ((f"{layer.scope}/path{i}_conv/weights", path) for i, path in enumerate((x, moved), 1))
                return tf.concat([self._conv(name, path[:, ::2, ::2]) for name, path in paths], 3)
            case Dense():
                return x @ self._variables[f"{layer.scope}/weights"] + self._variables[f"{layer.scope}/biases"]
        raise TypeError(f"no operation for {type(layer).__name__}")

    def _conv(self, name: str, x: Tensor, stride: int = 1, padding: Padding = _NO_PADDING, dilation: int = 1) -> Tensor:
        return tf.nn.conv2d(x, self._variables[name], stride, _padding(padding), dilations=dilation)

    def _batch_norm(self, layer: BatchNorm, x: Tensor) -> Tensor:
        gamma, beta, *moving = (self._variables[name] for name in layer.variables())
        moments = moving
        if self._training:
            moments = tf.nn.moments(x, [0, 1, 2])
            for average, new in zip(moving, moments, strict=True):
                self.updates.append((average, self._momentum * average + (1 - self._momentum) * new))
        return tf.nn.batch_normalization(x, *moments, beta, gamma, layer.epsilon)


def _padding(padding: Padding) -> str:
    return "VALID" if padding == _NO_PADDING else "SAME"


def is_trainable(name: str) -> bool:
    """Whether a variable is trained: all but moving averages."""
    return "/moving_" not in name


def is_regularized(name: str) -> bool:
    """Whether a variable has an L2 term: kernels."""
    return name.endswith("weights")


def named(endpoints: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the outputs of a module: the features as `default` beside the endpoints."""
    return {"default": endpoints["global_pool"], **{PREFIX + name: value for name, value in endpoints.items()}}


def _l2_term(variable: Any, weight: float) -> Any:
    return tf.function(lambda: weight * tf.nn.l2_loss(variable), input_signature=[])


def save_second_format(plan: Plan, values: Mapping[str, np.ndarray[Any, Any]], folder: Path) -> None:
    """Write a module as versions 4 and 5 were: a SavedModel of TensorFlow 2."""
    variables = {name: tf.Variable(value, name=name, trainable=is_trainable(name)) for name, value in values.items()}

    def compute(
        images: Tensor,
        training: bool = False,
        batch_norm_momentum: Any = MOMENTUM,
        return_endpoints: bool = False,
    ) -> Tensor:
        network = Network(plan, variables, training=training, momentum=batch_norm_momentum)
        endpoints = network.endpoints(images)
        for variable, value in network.updates:
            variable.assign(value)
        return named(endpoints) if return_endpoints else endpoints["global_pool"]

    call = tf.function(compute)
    images = tf.TensorSpec((None, *plan.spec.image_size, 3), tf.float32, "images")
    momentum = tf.TensorSpec((), tf.float32, "batch_norm_momentum")
    for training in (False, True):
        for return_endpoints in (False, True):
            call.get_concrete_function(images, training, momentum, return_endpoints)
    module = tf.train.Checkpoint()
    module.variables = list(variables.values())
    module.trainable_variables = [variable for name, variable in variables.items() if is_trainable(name)]
    regularized = [variable for name, variable in variables.items() if is_regularized(name)]
    module.regularization_losses = [_l2_term(variable, plan.spec.weight_decay) for variable in regularized]
    module.__call__ = call
    served = tf.function(lambda images: named({"global_pool": call(images)}), input_signature=[images])
    tf.saved_model.save(module, str(folder), {"serving_default": served})


def export_first_format(hub: Any, plan: Plan, values: Mapping[str, np.ndarray[Any, Any]], folder: Path) -> None:
    """Write a module as versions 1 to 3 were, with `hub`, a tensorflow_hub that has `hub.Module`."""
    v1 = tf.compat.v1

    def build(training: bool) -> None:
        images = v1.placeholder(tf.float32, (None, *plan.spec.image_size, 3), "images")
        momentum = v1.placeholder_with_default(MOMENTUM, (), "batch_norm_momentum")
        variables = {
            name: v1.get_variable(name, value.shape, trainable=is_trainable(name)) for name, value in values.items()
        }
        for name in filter(is_regularized, variables):
            loss = plan.spec.weight_decay * tf.nn.l2_loss(variables[name])
            v1.add_to_collection(v1.GraphKeys.REGULARIZATION_LOSSES, loss)
        network = Network(plan, variables, training=training, momentum=momentum)
        outputs = named(network.endpoints(images))
        for variable, value in network.updates:
            v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, v1.assign(variable, value))
        for signature in (None, "image_feature_vector"):
            hub.add_signature(signature, {"images": images}, outputs)
        with_momentum = {"images": images, "batch_norm_momentum": momentum}
        hub.add_signature("image_feature_vector_with_bn_hparams", with_momentum, outputs)
        info = hub.ImageModuleInfo()
        info.default_image_size.height, info.default_image_size.width = plan.spec.image_size
        hub.attach_image_module_info(info)

    variants = [(set(), {"training": False}), ({"train"}, {"training": True})]
    spec = hub.create_module_spec(build, variants)
    with tf.Graph().as_default(), v1.Session() as session:
        module = hub.Module(spec)
        session.run([v1.assign(variable, values[name]) for name, variable in module.variable_map.items()])
        module.export(str(folder), session)
