"""Backends of a module: inference engines, or a torch network to train."""

# ruff: noqa: D102 (the base class documents the methods)

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engines import Engine, EngineOptions, Job, create
from ..engines.base import ClosedEngineError
from ..errors import InputError, MissingExtraError
from ..support.contexts import contextmanager
from ..weights import AUXILIARY_HEAD, CLASSIFIER
from .open import Model
from .quantized import RangeWatch

if TYPE_CHECKING:
    from ..lowering.torch_network import Network

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]


class Backend(ABC):
    """Runs a network on images."""

    @property
    @abstractmethod
    def network(self) -> "Network":
        """The torch network. Raises `InputError` if there is none."""

    @abstractmethod
    def engine_for(self, endpoints: Iterable[str]) -> Engine:
        """Return the engine that computes these endpoints. Raises `InputError` if there is none."""

    @abstractmethod
    def call(
        self, images: Any, endpoints: Sequence[str], training: bool | None, momentum: float | None
    ) -> dict[str, Any]:
        """Return the endpoints of checked images, as arrays or tensors like the images.

        Args:
            images, endpoints: the images, and the outputs to compute.
            training: whether batch normalization and dropout run in training mode; None for the network's mode.
            momentum: momentum of this call's updates of moving averages; None for the network's own.
        """

    @abstractmethod
    def infer(self, images: Floats, endpoints: Sequence[str]) -> dict[str, Floats]:
        """Return the endpoints in inference mode."""

    @abstractmethod
    def variables(self) -> dict[str, Floats]:
        """Return a copy of all variables."""

    def close(self) -> None:  # noqa: B027 (a network has nothing to close)
        """Free memory that later calls allocate again."""


class InferenceBackend(Backend):
    """Runs a model on engines: one for each set of endpoints, created when it is first used."""

    _creating = threading.Lock()
    """Engines are created one at a time: creating one needs much memory, and two threads may need the same engine."""

    def __init__(self, model: Model, options: EngineOptions) -> None:
        self._model, self._options = model, options
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._watch = RangeWatch(model.name, model.quantized.calibrated) if model.quantized else None

    @property
    def network(self) -> "Network":
        raise InputError("this module is for inference and has no torch network: open it with trainable=True")

    def engine_for(self, endpoints: Iterable[str]) -> Engine:
        endpoints = tuple(endpoints)
        key = tuple(sorted(set(self._watch.added_to(endpoints) if self._watch else endpoints)))
        with self._creating:
            engine = self._engines.get(key)
            if engine is None or engine.closed:
                model = self._model
                graph = model.quantized.graph if model.quantized else None
                engine = create(Job(model.plan, model.arrays, self._options, model.checksum, key, graph))
                log.info("%s runs on %s", model.name, engine.description)
                self._engines[key] = engine
            return engine

    def call(
        self, images: Any, endpoints: Sequence[str], training: bool | None, momentum: float | None
    ) -> dict[str, Any]:
        if training:
            raise InputError("this module is for inference: open it with trainable=True to pass training=True")
        if isinstance(images, np.ndarray):
            return dict(self.infer(np.ascontiguousarray(images), endpoints))
        import torch

        if images.requires_grad and torch.is_grad_enabled():
            raise InputError("this module is for inference and returns no gradients: open it with trainable=True")
        outputs = self.infer(np.ascontiguousarray(images.detach().cpu().numpy()), endpoints)
        return {name: torch.from_numpy(value).to(images.device) for name, value in outputs.items()}

    def infer(self, images: Floats, endpoints: Sequence[str]) -> dict[str, Floats]:
        while True:
            try:
                found = self.engine_for(endpoints).run(images)
            except ClosedEngineError:  # another thread has called `close`: create another engine
                continue
            if self._watch:
                self._watch.check(found)
            return {name: found[name] for name in endpoints}

    def variables(self) -> dict[str, Floats]:
        arrays = self._model.arrays()
        return {name: arrays[name] for name in self._model.variables}

    def close(self) -> None:
        with self._creating:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()


@dataclass(frozen=True)
class TrainingOptions:
    """The arguments of `Module` for training."""

    trainable: bool
    train: bool
    batch_norm_momentum: float = 0.99
    freeze_batch_norm: bool = False


class TrainingBackend(Backend):
    """Runs a torch network. Raises `MissingExtraError` without torch."""

    def __init__(self, model: Model, options: TrainingOptions) -> None:
        try:
            import torch

            from ..lowering.torch_network import Network
        except ImportError as error:
            raise MissingExtraError.of("torch", "torch", "a module to train") from error
        self._options, self._warned, self._name = options, False, model.name
        network = Network(model.plan, batch_norm_momentum=options.batch_norm_momentum, aux_head=options.train)
        arrays = model.arrays()
        network.load_variables({name: arrays[name] for name in model.variables})
        network.use_memory_format(torch.channels_last)
        network.train(options.train)
        network.freeze_batch_norm(options.freeze_batch_norm)
        if not options.trainable:
            network.requires_grad_(False)
            network.freeze_moving_averages()
        self._network = network
        self._log_random(model)

    @property
    def network(self) -> "Network":
        return self._network

    def engine_for(self, endpoints: Iterable[str]) -> Engine:
        """Raise `InputError`: an engine would run the weights of the file, not the trained ones."""
        raise InputError("a module to train has no engine: call it, or export it and open the exported file")

    def call(
        self, images: Any, endpoints: Sequence[str], training: bool | None, momentum: float | None
    ) -> dict[str, Any]:
        self._warn_of_mode(images, training)
        changes = training is not None and training != self._network.training
        if changes and training and self._network.checkpoint_cells:
            raise InputError(
                "training=True cannot be combined with checkpoint_cells, which runs cells again after the call: call "
                "module.network.train() instead"
            )
        with _training(self._network, bool(training)) if changes else nullcontext():
            return self._run(images, endpoints, momentum)

    def infer(self, images: Floats, endpoints: Sequence[str]) -> dict[str, Floats]:
        with _training(self._network, False):
            return self._run(images, endpoints, None)

    def variables(self) -> dict[str, Floats]:
        return self._network.to_variables()

    def state(self) -> dict[str, Any]:
        """Return everything that calls and training can change, as `load_state` accepts it."""
        network = self._network
        return {
            "values": network.state_dict(),
            "training": [part.training for part in network.modules()],
            "trainable": [parameter.requires_grad for parameter in network.parameters()],
            "checkpoint_cells": network.checkpoint_cells,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `state` returned."""
        network = self._network
        network.load_state_dict(state["values"])
        network.checkpoint_cells = state["checkpoint_cells"]
        for part, training in zip(network.modules(), state["training"], strict=True):
            part.training = training
        for parameter, trainable in zip(network.parameters(), state["trainable"], strict=True):
            parameter.requires_grad_(trainable)

    def _run(self, images: Any, endpoints: Sequence[str], momentum: float | None) -> dict[str, Any]:
        import torch

        is_tensor = not isinstance(images, np.ndarray)
        if not is_tensor:
            device = next(self._network.parameters()).device
            images = torch.from_numpy(np.require(images, None, ["C", "W"])).to(device)
        # No gradients for arrays.
        gradients = torch.set_grad_enabled(is_tensor and torch.is_grad_enabled())
        with gradients, self._network.batch_norm_momentum(momentum if self._options.trainable else None):
            outputs = self._network(images, endpoints)
        if is_tensor:
            return dict(outputs)
        return {name: value.detach().float().cpu().numpy() for name, value in outputs.items()}

    def _log_random(self, model: Model) -> None:
        """Log the groups of variables that the weights lack."""
        missing = model.plan.variables(training=self._network.has_aux_head).keys() - set(model.variables)
        for prefix, group in ((AUXILIARY_HEAD, "auxiliary head"), (CLASSIFIER, "classifier")):
            if model.weights and any(name.startswith(prefix) for name in missing):
                why = "differs" if any(name.startswith(prefix) for name in model.weights.shapes) else "is missing"
                log.info("%s: the %s %s; a new one is initialised at random", model.origin, group, why)

    def _warn_of_mode(self, images: Any, training: bool | None) -> None:
        """Warn once if gradients are computed in inference mode without a request for that mode."""
        if self._warned or training is not None or not self._options.trainable or isinstance(images, np.ndarray):
            return
        import torch

        if torch.is_grad_enabled() and not self._network.training:
            self._warned = True
            log.warning(
                "%s runs in inference mode, with the moving averages of batch normalization and without dropout: pass "
                "training=True to the call or tags={'train'} to the module to train it, or training=False to keep "
                "this mode",
                self._name,
            )


@contextmanager
def _training(network: "Network", training: bool) -> Iterator[None]:
    """Set the mode of the network within the block, then restore the mode of each of its parts."""
    kept = [(part, part.training) for part in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for part, was in kept:
            part.training = was


def check_for_training(options: EngineOptions) -> None:
    """Raise `InputError` for options that a torch network ignores."""
    if options.engine not in ("auto", "torch"):
        raise InputError(f"engine={options.engine!r} is for inference: a network to train runs on torch")
    if options.precision not in (None, "float32"):
        raise InputError(
            f"precision={options.precision!r} is for inference: a network to train computes under torch.autocast"
        )
    for name in ("threads", "device"):
        if getattr(options, name) is not None:
            raise InputError(f"{name} is for inference: a network to train uses torch.set_num_threads and .to()")
