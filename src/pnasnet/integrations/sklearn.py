"""Image features as a scikit-learn transformer. Import it as `from pnasnet.sklearn import ImageFeatures`."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engines import EngineOptions
from ..errors import InputError, MissingExtraError, UnknownNameError
from ..module import Module
from ..module.open import ModelName, WeightsName
from ..module.pictures import ImageInputs

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise MissingExtraError.of("scikit-learn", "sklearn", "pnasnet.sklearn") from error

if TYPE_CHECKING:
    from sklearn.utils import Tags


class ImageFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Transforms images to feature vectors. `fit` opens the model, and learns nothing.

    Images are as for `Module.embed` (paths, bytes, PIL images, uint8 arrays; in a list, array or Series), or a table
    with one column of them. A fitted transformer can be pickled: when it is unpickled, it opens the model again, and
    checks that the weights are the same.

    Args:
        model: the model, as for `Module`.
        endpoint: the output of the network; maps pass through ReLU and are averaged over positions.
        weights: weights other than the published ones.
        image_size: height and width; None for the network's own.
        preset: the preprocessing; None for that of the weights.
        engine: the engine, as for `Module`.
        batch_size: images per call of the network.
        allow_hosts: hosts that URLs may be fetched from.

    Attributes:
        module_: the opened model.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.sklearn import ImageFeatures
        >>> data = open_dataset("animals")
        >>> pipeline = make_pipeline(ImageFeatures("pnasnet_tiny"), LogisticRegression())
        >>> pipeline.fit(data.names, data.labels).score(data.names, data.labels) > 0.9
        True
        >>> features = pipeline[0]
        >>> features.transform(data.names[:2]).shape, features.get_feature_names_out()[0]
        ((2, 960), 'global_pool_0')
    """

    def __init__(
        self,
        model: ModelName = "pnasnet_small",
        *,
        endpoint: str = "global_pool",
        weights: WeightsName | None = None,
        image_size: tuple[int, int] | None = None,
        preset: str | None = None,
        engine: str | EngineOptions = "auto",
        batch_size: int = 8,
        allow_hosts: Collection[str] = (),
    ) -> None:
        self.model = model
        self.endpoint = endpoint
        self.weights = weights
        self.image_size = image_size
        self.preset = preset
        self.engine = engine
        self.batch_size = batch_size
        self.allow_hosts = allow_hosts

    def fit(self, X: Any = None, y: Any = None) -> "ImageFeatures":  # noqa: N803 - scikit-learn's name
        """Open the model; `X` and `y` are ignored. Raises as `Module`, and `UnknownNameError` for the endpoint."""
        module = Module(self.model, self.weights, image_size=self.image_size, engine=self.engine)
        self._length(module)
        self.module_ = module
        return self

    def transform(self, X: ImageInputs) -> NDArray[np.float32]:  # noqa: N803
        """Return the features of images, float32 [number of images, features].

        Raises the errors of `Module.embed`, `InputError` for a table with several columns, and scikit-learn's
        `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        return self.module_.embed(
            _column(X),
            endpoint=self.endpoint,
            preset=self.preset,
            batch_size=self.batch_size,
            allow_hosts=self.allow_hosts,
        )

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features: `global_pool_0`, `global_pool_1`, and so on."""
        check_is_fitted(self)
        return np.array([f"{self.endpoint}_{index}" for index in range(self._length(self.module_))], object)

    def _length(self, module: Module) -> int:
        """Return the length of the endpoint's features. Raises `UnknownNameError` if there is no such endpoint."""
        endpoints = module.model.plan.endpoints()
        if self.endpoint not in list(endpoints):
            raise UnknownNameError.of("endpoint", self.endpoint, list(endpoints))
        return endpoints[self.endpoint][-1]

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.no_validation = True
        return tags


def _column(pictures: Any) -> Any:
    """Return the only column of a table, such as `ColumnTransformer` passes; other images unchanged."""
    shape: tuple[int, ...] = getattr(pictures, "shape", ())
    if len(shape) != 2:
        return pictures
    if shape[1] != 1:
        raise InputError(f"X has {shape[1]} columns: pass the column of images alone, as ColumnTransformer does")
    return pictures.iloc[:, 0] if hasattr(pictures, "iloc") else np.asarray(pictures)[:, 0]
