"""`Module`: what `hub.Module` was for these networks, over a fast engine or a torch network to train."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..engines import Engine, EngineOptions, create
from ..errors import InputError, MissingExtraError, UnknownNameError
from ..images import Source, preprocess
from ..weights import write_weights
from .open import ModelName, WeightsName, open_model
from .signatures import Signatures, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

    from ..lowering.torch_network import Network

log = logging.getLogger(__name__)

_MAKING = threading.Lock()
"""One engine is made at a time: that takes much memory, and two threads may ask for the same."""
_VARIANTS: tuple[frozenset[str], ...] = (frozenset(), frozenset({"train"}))


class Module:
    """A network with its weights, called as TF-Hub's image modules were.

    Without `trainable` and tags it runs on an inference engine. With either it is a torch network, `module.network`:
    tag `train` puts batch normalization, path dropout and dropout into training mode, `trainable` lets gradients reach
    the variables and lets the moving averages be updated, each on its own, as in TF-Hub.

    Attributes:
        model: the network, its weights and where they come from.

    """

    def __init__(
        self,
        model: ModelName,
        weights: WeightsName | None = None,
        *,
        trainable: bool = False,
        tags: Collection[str] | None = (),
        engine: str | EngineOptions = "auto",
        precision: str = "float32",
        threads: int | None = None,
        image_size: tuple[int, int] | None = None,
        num_classes: int | None = None,
        batch_norm_momentum: float = 0.99,
        freeze_batch_norm: bool = False,
        offline: bool | None = None,
    ) -> None:
        """Open a model; see `open_model` for `model`, `weights`, `image_size`, `num_classes` and the errors.

        Args:
            model: a name such as `pnasnet_large`, a TF-Hub handle or URL, a file or folder, or a `NetworkSpec`.
            weights: other weights than the published ones.
            trainable: whether gradients reach the variables.
            tags: `{"train"}` for the training graph, nothing for inference.
            engine: `openvino`, `torch`, `fake` (for tests), or `auto` for the fastest one here; or all `EngineOptions`.
            precision: `float32` or `bfloat16`.
            threads: how many the engine takes; None for all cores.
            image_size: height and width, if not the network's own.
            num_classes: a new classifier's width, for training; that of the weights is kept, with its labels, if it is
                as wide.
            batch_norm_momentum: the share of the old value in each update of a moving average.
            freeze_batch_norm: whether batch normalization uses its moving averages in training too, and leaves them as
                they are; its scales and offsets stay trainable.
            offline: never download; None asks the environment variable `PNASNET_OFFLINE`.

        """
        tags = frozenset(tags or ())
        if tags not in _VARIANTS:
            raise UnknownNameError(f"No such graph variant: tags={sorted(tags)}; known: [] and ['train']")
        self._train, self._trainable = "train" in tags, trainable
        torch_needed = self._train or trainable
        if freeze_batch_norm and not torch_needed:
            raise InputError("freeze_batch_norm=True is for training; give trainable=True as well")
        options = engine if isinstance(engine, EngineOptions) else EngineOptions(engine, precision, threads)
        if torch_needed:
            _check_for_training(options)
        self.model = open_model(
            model, weights, image_size=image_size, num_classes=num_classes, training=torch_needed, offline=offline
        )
        self._options = options
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._signatures = Signatures(
            self.model.plan, self.model.handle_signature, training=self._train, new_classes=num_classes is not None
        )
        self._network: Network | None = None
        if torch_needed:
            self._network = self._make_network(batch_norm_momentum, freeze_batch_norm)

    # What the module is.

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.model.spec.image_size

    @property
    def network(self) -> "Network":
        """The torch network. Raises `InputError` for a module that is neither trainable nor tagged `train`."""
        if self._network is None:
            raise InputError("this module is for inference and has no torch network; open it with trainable=True")
        return self._network

    @property
    def preset(self) -> str:
        """The preprocessing that the weights ask for."""
        return self.model.preset

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names by logit, where they are known."""
        return self.model.labels

    @property
    def precision(self) -> str:
        """`float32` or `bfloat16`."""
        return self._options.precision

    @property
    def engine(self) -> Engine:
        """The engine that computes the features."""
        return self.engine_for(("global_pool",))

    def engine_for(self, endpoints: Iterable[str]) -> Engine:
        """Return the engine that computes these endpoints, made when first asked for.

        Raises `InputError` for a module to train: an engine would have the weights of its file, not its own.
        """
        if self._network is not None:
            raise InputError("a module to train has no engine: call it, or export it and open what was written")
        key = tuple(sorted(set(endpoints)))
        with _MAKING:
            if key not in self._engines:
                self._engines[key] = self._make_engine(key)
            return self._engines[key]

    def _make_engine(self, outputs: tuple[str, ...]) -> Engine:
        model = self.model
        engine = create(model.plan, model.arrays, self._options, weights_checksum=model.checksum, outputs=outputs)
        log.info("%s runs on %s", model.name, engine.description)
        return engine

    def close(self) -> None:
        """Let go of the engines and their memory; what is asked for later makes new ones."""
        with _MAKING:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()

    def get_signature_names(self) -> list[str]:
        """Return the names of the signatures."""
        return list(self._signatures.names)

    def get_input_info_dict(self, signature: str | None = None) -> dict[str, TensorInfo]:
        """Return name, shape and dtype of each input of a signature."""
        return self._signatures.inputs(signature or "default")

    def get_output_info_dict(self, signature: str | None = None) -> dict[str, TensorInfo]:
        """Return name, shape and dtype of each output that a signature gives with `as_dict=True`."""
        return self._signatures.outputs(signature or "default")

    # Calling it.

    def __call__(self, images: Any, signature: str | None = None, as_dict: bool = False) -> Any:
        """Run the network.

        Args:
            images: [batch, height, width, 3], RGB, float32 in [0, 1], a NumPy array or a torch tensor; or a dict with
                `images` and, for the signatures that take it, `batch_norm_momentum`.
            signature: one of `get_signature_names()`.
            as_dict: whether to return every endpoint by TF-Slim's name, and the signature's own output as `default`.

        Returns:
            The features [batch, features] or the logits [batch, classes], in the kind that `images` was; or the dict.

        Raises:
            InputError: images of another rank, size, dtype or range; UnknownNameError: no such signature.

        """
        call = self._signatures.parse(images, signature)
        default = self._signatures.endpoint(call.signature)
        endpoints = self._signatures.endpoints(call.signature) if as_dict else (default,)
        if self._network is None:
            outputs = self._infer(call.images, endpoints)
        else:
            outputs = self._run_network(call.images, endpoints, call.batch_norm_momentum)
        return {"default": outputs[default], **outputs} if as_dict else outputs[default]

    def run(self, images: NDArray[np.float32], endpoints: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Run the inference engine on images that are known to be valid; returns the endpoints by name.

        Raises as `engine_for`.
        """
        found = self.engine_for(endpoints).run(images)
        return {name: found[name] for name in endpoints}

    def embed(
        self, sources: Source | Sequence[Source], *, preset: str | None = None, batch_size: int = 8
    ) -> NDArray[np.float32]:
        """Decode and preprocess pictures, and return their features [number of sources, features] float32.

        A module to train runs in inference mode for it: moving averages, no dropout, nothing is learnt.

        Args:
            sources: paths, the bytes of files, or PIL images; or one of them.
            preset: the preprocessing; None takes the one that the weights ask for.
            batch_size: how many run at once.

        Raises:
            ImageError: one of them is no image, or a damaged one.

        """
        return self._run_pictures(sources, "global_pool", preset, batch_size)

    def classify(
        self, sources: Source | Sequence[Source], *, top: int = 5, preset: str | None = None, batch_size: int = 8
    ) -> list[list[tuple[str, float]]]:
        """Return, for each picture, the `top` most probable classes as (name, probability), best first.

        Arguments and errors are those of `embed`; `InputError` where the network has no classifier.
        """
        if not self.model.spec.num_classes:
            raise InputError(f"{self.model.name} has no classifier; use embed")
        names = self.model.labels or tuple(f"class {i}" for i in range(self.model.spec.num_classes))
        rows = self._run_pictures(sources, "Predictions", preset, batch_size)
        best = np.argsort(-rows, axis=1, kind="stable")[:, :top]
        return [[(names[i], float(row[i])) for i in order] for row, order in zip(rows, best, strict=True)]

    def _run_pictures(
        self, sources: Source | Sequence[Source], endpoint: str, preset: str | None, batch_size: int
    ) -> NDArray[np.float32]:
        is_one = isinstance(sources, str | bytes | bytearray | memoryview) or not isinstance(sources, Sequence)
        sources = cast("Sequence[Source]", [sources] if is_one else sources)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        length = self.model.plan.endpoints()[endpoint]
        result = np.empty((len(sources), *length), np.float32)
        for start in range(0, len(sources), batch_size):
            chosen = sources[start : start + batch_size]
            images = np.stack([preprocess(s, self.image_size, preset or self.model.preset) for s in chosen])
            result[start : start + len(chosen)] = self._call_endpoint(images, endpoint)
        return result

    def _call_endpoint(self, images: NDArray[np.float32], endpoint: str) -> NDArray[np.float32]:
        if self._network is None:
            return self.run(images, (endpoint,))[endpoint]
        was_training = self._network.training
        self._network.eval()
        try:
            value: NDArray[np.float32] = self._run_network(images, (endpoint,), None)[endpoint]
        finally:
            self._network.train(was_training)
        return value

    def _infer(self, images: Any, endpoints: tuple[str, ...]) -> dict[str, Any]:
        if isinstance(images, np.ndarray):
            return dict(self.run(np.ascontiguousarray(images), endpoints))
        import torch

        outputs = self.run(np.ascontiguousarray(images.detach().cpu().numpy()), endpoints)
        return {name: torch.from_numpy(value).to(images.device) for name, value in outputs.items()}

    # Training it.

    def _make_network(self, batch_norm_momentum: float, freeze_batch_norm: bool) -> "Network":
        try:
            import torch

            from ..lowering.torch_network import Network
        except ImportError as error:
            raise MissingExtraError.of("torch", "torch", "a module to train") from error
        network = Network(self.model.plan, batch_norm_momentum=batch_norm_momentum, aux_head=self._train)
        network.load_variables({name: self.model.arrays()[name] for name in self.model.variables})
        network.use_memory_format(torch.channels_last)
        network.train(self._train)
        network.freeze_batch_norm(freeze_batch_norm)
        if not self._trainable:
            network.requires_grad_(False)
            network.freeze_moving_averages()
        return network

    def _run_network(self, images: Any, endpoints: tuple[str, ...], momentum: float | None) -> dict[str, Any]:
        import torch

        given = not isinstance(images, np.ndarray)
        if not given:
            device = next(self.network.parameters()).device
            images = torch.from_numpy(np.require(images, None, ["C", "W"])).to(device)
        # Nobody could follow the gradients of an array.
        gradients = torch.set_grad_enabled(given and torch.is_grad_enabled())
        with gradients, self.network.batch_norm_momentum(momentum if self._trainable else None):
            outputs = self.network(images, endpoints)
        if given:
            return dict(outputs)
        return {name: value.detach().float().cpu().numpy() for name, value in outputs.items()}

    @property
    def variables(self) -> Mapping[str, NDArray[np.float32]]:
        """All variables: TF-Slim's names, TensorFlow's layout; for a torch network a copy of their present values."""
        if self._network is not None:
            return self._network.to_variables()
        arrays = self.model.arrays()
        return {name: arrays[name] for name in self.model.variables}

    @property
    def variable_map(self) -> Mapping[str, NDArray[np.float32]]:
        """The same as `variables`, by `hub.Module`'s name."""
        return self.variables

    @property
    def trainable_variables(self) -> "list[Tensor]":
        """The parameters that gradients reach; empty unless the module is trainable."""
        return [p for p in self.network.parameters() if p.requires_grad] if self._trainable else []

    @property
    def regularization_losses(self) -> "list[Callable[[], Tensor]]":
        """Functions without arguments that return the L2 terms; empty unless the module is trainable."""
        return [self.network.regularization_loss] if self._trainable else []

    def export(self, path: str | PathLike[str], *, float16: bool = False) -> None:
        """Write the network with its present weights as this project's safetensors file, which `Module` opens.

        `float16` rounds kernels, for half the size; see `write_weights` for the errors.
        """
        from .open import metadata

        write_weights(path, self.variables, **metadata(self.model), float16=float16)


def _check_for_training(options: EngineOptions) -> None:
    """Raise `InputError` for what a torch network would not heed."""
    if options.engine not in ("auto", "torch"):
        raise InputError(f"engine={options.engine!r} is for inference: a network to train, or tagged so, runs on torch")
    if options.precision != "float32":
        raise InputError(
            f"precision={options.precision!r} is for inference: a network to train computes under torch.autocast"
        )
    for name in ("threads", "device"):
        if getattr(options, name) is not None:
            raise InputError(f"{name} is for inference: of a network to train torch.set_num_threads and .to() decide")
