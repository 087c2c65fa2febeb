"""`Module`: a network with its weights, called as TF-Hub's image modules were."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engines import Engine, EngineOptions
from ..engines.options import engine_options
from ..errors import InputError, UnknownNameError, WeightsMismatchError
from ..support.arguments import checked
from ..support.typed import whole_number
from ..weights import write_weights
from .backends import Backend, InferenceBackend, TrainingBackend, TrainingOptions, check_for_training
from .hugging_face import OnHub
from .open import ModelName, WeightsName, absolute, metadata, open_model, with_labels
from .pictures import ImageInputs, as_pictures, averaged, to_input
from .quantized import fit_precision
from .signatures import Signatures, TensorInfo, variant

if TYPE_CHECKING:
    from torch import Tensor

    from ..lowering.torch_network import Network


class Module(OnHub):
    """A network with its weights, called as TF-Hub's image modules were.

    Without `trainable` and tags it runs on an inference engine. With either, it is a torch network, `module.network`:
    tag `train` puts batch normalization, path dropout and dropout into training mode; `trainable` lets gradients reach
    the variables and updates the moving averages. As in TF-Hub, the two are independent.

    A module can be pickled and copied: the copy opens the same model again and checks that the weights have not
    changed. The present variables of a torch network are copied.

    Args:
        model: a name such as `pnasnet_large`, a handle or URL of TF-Hub, a file or folder, or a `NetworkSpec`.
        weights: weights to use instead of the published ones.
        trainable: whether gradients reach the variables.
        tags: `{"train"}` for the training graph; empty for inference.
        engine: `openvino`, `torch`, or `auto` for the fastest on this machine; or all options as `EngineOptions`,
            without `precision` and `threads`.
        precision: `float32`, `bfloat16`, or `float16` on GPUs; None for `float32`, or for `int8` of a quantized model.
        threads: number of CPU threads of the engine; None for one per core, within the container's quota.
        image_size: height and width; None for the network's own.
        num_classes: width of a new classifier, for training. A classifier of this width in the weights is kept,
            with its labels.
        labels: names of the classes, instead of those of the weights. If a new classifier has other labels than that
            of the weights, it starts at random.
        batch_norm_momentum: share of the old value in each update of a moving average.
        freeze_batch_norm: whether batch normalization uses its moving averages in training mode too, and does not
            update them; its scales and offsets stay trainable.
        moving_averages: whether to use the moving averages of the variables, in files that hold both.
        offline: whether to download nothing; None reads the environment variable `PNASNET_OFFLINE`.

    Attributes:
        model: the network, its weights and their origin.

    See `open_model` for the errors.

    Example:
        >>> import pnasnet
        >>> module = pnasnet.Module("pnasnet_tiny")
        >>> module.embed(["photos/chelsea.jpg", "photos/coffee.jpg"]).shape
        (2, 960)
    """

    def __init__(
        self,
        model: ModelName,
        weights: WeightsName | None = None,
        *,
        trainable: bool = False,
        tags: Collection[str] | None = (),
        engine: str | EngineOptions = "auto",
        precision: str | None = None,
        threads: int | None = None,
        image_size: tuple[int, int] | None = None,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        batch_norm_momentum: float = 0.99,
        freeze_batch_norm: bool = False,
        moving_averages: bool | None = None,
        offline: bool | None = None,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        self._arguments |= {"model": absolute(model), "weights": absolute(weights)}
        training = TrainingOptions(trainable, "train" in variant(tags), batch_norm_momentum, freeze_batch_norm)
        is_network = trainable or training.train
        self._trainable = trainable
        self._options = engine_options(engine, precision, threads)
        if is_network:
            check_for_training(self._options)
        elif freeze_batch_norm:
            raise InputError("freeze_batch_norm=True is for training: pass trainable=True as well")
        self.model = open_model(
            model,
            weights,
            image_size=image_size,
            num_classes=num_classes,
            training=is_network,
            moving_averages=moving_averages,
            offline=offline,
        )
        if labels is not None:
            self.model = with_labels(self.model, labels, new=num_classes is not None)
        self._options = fit_precision(self._options, self.model)
        self._signatures = Signatures(self.model, training=training.train, new_classes=num_classes is not None)
        self._backend: Backend
        if is_network:
            self._backend = TrainingBackend(self.model, training)
        else:
            self._backend = InferenceBackend(self.model, self._options)

    # Properties.

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.model.spec.image_size

    @property
    def network(self) -> "Network":
        """The torch network. Raises `InputError` for a module that is neither trainable nor tagged `train`."""
        return self._backend.network

    @property
    def preset(self) -> str:
        """The preprocessing of the weights."""
        return self.model.preset

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names by logit; None if they are unknown."""
        return self.model.labels

    @property
    def precision(self) -> str:
        """`float32`, `bfloat16` or `float16`; `int8` for a quantized model."""
        return self._options.precision or "float32"

    @property
    def engine(self) -> Engine:
        """The engine that computes the features."""
        return self.engine_for(("global_pool",))

    def engine_for(self, endpoints: Iterable[str]) -> Engine:
        """Return the engine that computes these endpoints, created when first used.

        Raises `InputError` for a module to train: an engine would run the weights of its file, not the trained ones.
        """
        return self._backend.engine_for(endpoints)

    def close(self) -> None:
        """Free the engines' memory. Running calls finish; later calls create new engines."""
        self._backend.close()

    def get_signature_names(self) -> list[str]:
        """Return the names of the signatures."""
        return list(self._signatures.names)

    def get_input_info_dict(self, signature: str | None = None) -> dict[str, TensorInfo]:
        """Return shape and dtype of each input of a signature, by name."""
        return self._signatures.inputs(signature or "default")

    def get_output_info_dict(self, signature: str | None = None) -> dict[str, TensorInfo]:
        """Return shape and dtype of each output that a signature returns with `as_dict=True`, by name."""
        return self._signatures.outputs(signature or "default")

    # Calls.

    def __call__(
        self, images: Any, signature: str | None = None, as_dict: bool = False, *, training: bool | None = None
    ) -> Any:
        """Run the network.

        Args:
            images: [batch, height, width, 3], RGB, float32 in [0, 1], a NumPy array or a torch tensor; or a dict with
                `images` and, for signatures that accept it, `batch_norm_momentum`.
            signature: one of `get_signature_names()`.
            as_dict: whether to return every endpoint by TF-Slim's name, and the signature's own output as `default`.
            training: whether this call runs in training mode; None for the mode of `network`, which the tags choose.

        Returns:
            The features [batch, features] or the logits [batch, classes], an array or tensor like `images`; or the
            dict.

        Raises:
            InputError: images of another rank, size, dtype or range; `training=True` for a module that is for
                inference.
            UnknownNameError: unknown signature.
        """
        call = self._signatures.parse(images, signature)
        default = self._signatures.endpoint(call.signature)
        endpoints = self._signatures.endpoints(call.signature) if as_dict else (default,)
        outputs = self._backend.call(call.images, endpoints, training, call.batch_norm_momentum)
        return {"default": outputs[default], **outputs} if as_dict else outputs[default]

    @checked
    def run(self, images: NDArray[np.float32], endpoints: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Run the inference engine on images that need no checks, and return the endpoints by name.

        Images are [batch, height, width, 3] float32 in [0, 1]; maps are [batch, height, width, channels] float32, other
        endpoints [batch, length]. Raises `InputError` for a module to train.
        """
        if isinstance(self._backend, TrainingBackend):
            self.engine_for(endpoints)
        return self._backend.infer(images, endpoints)

    def embed(
        self,
        pictures: ImageInputs,
        *,
        endpoint: str = "global_pool",
        preset: str | None = None,
        batch_size: int = 8,
        allow_hosts: Collection[str] = (),
    ) -> NDArray[np.float32]:
        """Decode and preprocess images, and return their features, float32 [number of images, features].

        A module to train runs in inference mode here, and nothing in it changes.

        Args:
            pictures: one image or several: paths, URLs, bytes of files, PIL images, or decoded pixels (uint8
                [height, width, 3]); in a list, NumPy array, pandas Series or Arrow array. Pixels
                [number, height, width, 3] are several images.
            endpoint: another output of the network; maps pass through ReLU and are averaged over positions.
            preset: the preprocessing; None for that of the weights.
            batch_size: number of images that run at once.
            allow_hosts: hosts that URLs may be fetched from (`https://` and `http://`).

        Raises:
            ImageError: a file is damaged, not an image, or cannot be fetched.
            InputError: an item is not an image, a URL is not allowed, or `batch_size` is less than 1.
            UnknownNameError: unknown endpoint or preset.
        """
        return self._run_pictures(pictures, endpoint, preset, batch_size, allow_hosts)

    def classify(
        self,
        pictures: ImageInputs,
        *,
        top: int = 5,
        preset: str | None = None,
        batch_size: int = 8,
        allow_hosts: Collection[str] = (),
    ) -> list[list[tuple[str, float]]]:
        """Return, for each image, the `top` most probable classes as (name, probability), most probable first.

        Arguments and errors are those of `embed`; also `InputError` if the network has no classifier, or `top` is less
        than 1.
        """
        if not self.model.spec.num_classes:
            raise InputError(f"{self.model.name} has no classifier: use embed")
        top = whole_number("top", top)
        names = self.model.labels or tuple(f"class {i}" for i in range(self.model.spec.num_classes))
        rows = self._run_pictures(pictures, "Predictions", preset, batch_size, allow_hosts)
        best = np.argsort(-rows, axis=1, kind="stable")[:, :top]
        return [[(names[i], float(row[i])) for i in order] for row, order in zip(rows, best, strict=True)]

    def _run_pictures(
        self, pictures: ImageInputs, endpoint: str, preset: str | None, batch_size: int, allow_hosts: Collection[str]
    ) -> NDArray[np.float32]:
        given = as_pictures(pictures)
        batch_size = whole_number("batch_size", batch_size)
        known = self.model.plan.endpoints()
        if endpoint not in list(known):  # not in `known`: it need not be hashable
            raise UnknownNameError.of("endpoint", endpoint, known)
        preset = self.preset if preset is None else preset
        result = np.empty((len(given), known[endpoint][-1]), np.float32)
        for start in range(0, len(given), batch_size):
            chosen = given[start : start + batch_size]
            images = np.stack([to_input(p, self.image_size, preset, allow_hosts) for p in chosen])
            result[start : start + len(chosen)] = averaged(self._backend.infer(images, (endpoint,))[endpoint])
        return result

    # Variables.

    @property
    def variables(self) -> Mapping[str, NDArray[np.float32]]:
        """A copy of all variables, in TensorFlow's layout by TF-Slim's names."""
        return self._backend.variables()

    @property
    def variable_map(self) -> Mapping[str, NDArray[np.float32]]:
        """The same as `variables`, under `hub.Module`'s name."""
        return self.variables

    @property
    def trainable_variables(self) -> "list[Tensor]":
        """The parameters that gradients reach; empty unless the module is trainable."""
        return [p for p in self.network.parameters() if p.requires_grad] if self._trainable else []

    @property
    def regularization_losses(self) -> "list[Callable[[], Tensor]]":
        """Functions without arguments that return the L2 terms; empty unless the module is trainable."""
        return [self.network.regularization_loss] if self._trainable else []

    @checked
    def export(self, path: str | PathLike[str], *, float16: bool = False) -> None:
        """Write the network with its present variables as this project's safetensors file, which `Module` opens.

        `float16` rounds kernels, for half the size; see `write_weights` for the errors.
        """
        write_weights(path, self.variables, **metadata(self.model), float16=float16)

    @property
    def _is_unchanged(self) -> bool:
        return isinstance(self._backend, InferenceBackend)

    # Copies.

    def __repr__(self) -> str:
        model, (height, width) = self.model, self.image_size
        classes = f"{model.spec.num_classes} classes" if model.spec.num_classes else "no classifier"
        if isinstance(self._backend, TrainingBackend):
            kind = f"torch network{', trainable' if self._trainable else ''}, " + (
                "training mode" if self.network.training else "inference mode"
            )
        else:
            kind = f"engine {self._options.engine}, {self._options.precision}"
        return f"<Module {model.name}: weights {model.origin}, images {height}x{width}, {classes}, {kind}>"

    def __reduce__(self) -> tuple[Callable[..., "Module"], tuple[Any, ...]]:
        arguments = dict(self._arguments)
        if isinstance(arguments["weights"], Mapping):
            arguments["weights"] = dict(arguments["weights"])
        state = self._backend.state() if isinstance(self._backend, TrainingBackend) else None
        return _reopen, (arguments, self.model.checksum, state)


def _reopen(arguments: dict[str, Any], checksum: str, state: Any) -> Module:
    """Open a pickled module. Raises `WeightsMismatchError` if its weights have changed since."""
    module = Module(**arguments)
    if module.model.checksum != checksum:
        raise WeightsMismatchError(
            f"the weights of {module.model.name} ({module.model.origin}) have changed since the module was pickled: "
            "restore them, or open the module again"
        )
    if state is not None and isinstance(module._backend, TrainingBackend):
        module._backend.load_state(state)
    return module
