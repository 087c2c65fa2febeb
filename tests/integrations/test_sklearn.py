"""Image features in scikit-learn."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import pnasnet
from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError, UnknownNameError, WeightsMismatchError
from pnasnet.images import read_file
from pnasnet.sklearn import ImageFeatures

from tests.helpers.cli_runs import PHOTOS

PATHS = sorted(PHOTOS.glob("*.jpg"))
CIFAR = Path(__file__).parents[1] / "golden/cifar10_400.parquet"


@pytest.fixture(scope="module")
def expected() -> Any:
    return pnasnet.Module("pnasnet_tiny").embed(PATHS)


class Painted(ImageFeatures):
    """The transformer, for tables of numbers: paints a picture from each row, since the checks know nothing else."""

    def transform(self, X: Any) -> Any:  # noqa: N803
        return super().transform(np.stack([np.resize(np.uint8(np.abs(row) * 20), (2, 2, 3)) for row in np.asarray(X)]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags


NOT_APPLICABLE = {
    "check_transformer_general": "demands that another number of columns than in fit is an error; pictures have none",
    "check_estimator_sparse_tag": "fit does not read pictures, so it does not refuse sparse tables",
    "check_estimator_sparse_array": "pictures are no sparse tables, and fit does not read them",
    "check_estimator_sparse_matrix": "pictures are no sparse tables, and fit does not read them",
}


@pytest.mark.slow
def test_check_estimator_passes() -> None:
    results = check_estimator(
        Painted("pnasnet_tiny", batch_size=64), expected_failed_checks=NOT_APPLICABLE, on_skip=None, on_fail=None
    )
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed == {}
    assert {result["check_name"] for result in results if result["status"] == "xfail"} <= NOT_APPLICABLE.keys()
    assert sum(result["status"] == "passed" for result in results) >= 30


def test_pictures_of_all_kinds_are_accepted(expected: Any) -> None:
    features = ImageFeatures("pnasnet_tiny").fit()
    pixels = [pnasnet.images.decode(read_file(path)) for path in PATHS]
    for pictures in (
        PATHS,
        np.array([str(path) for path in PATHS]),
        pd.Series([str(path) for path in PATHS]),
        pd.DataFrame({"path": [str(path) for path in PATHS]}),
        np.array([[str(path)] for path in PATHS], object),
        [path.read_bytes() for path in PATHS],
        pixels,
    ):
        np.testing.assert_allclose(features.transform(pictures), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(features.transform(pixels[0]), features.transform(np.stack(pixels[:1])))
    assert features.transform([Image.fromarray(pixels[0])]).shape == (1, expected.shape[1])
    with pytest.raises(InputError, match="X has 2 columns: pass the column of images alone"):
        features.transform(pd.DataFrame({"path": PATHS, "label": 0}))


def test_arguments_reach_the_module() -> None:
    options = EngineOptions("openvino", threads=1)
    features = ImageFeatures(
        "pnasnet_tiny", endpoint="Cell_1", image_size=(40, 40), preset="slim", engine=options, batch_size=2
    )
    module = pnasnet.Module("pnasnet_tiny", image_size=(40, 40), engine=options)
    found = features.fit_transform(PATHS)
    np.testing.assert_array_equal(found, module.embed(PATHS, endpoint="Cell_1", preset="slim", batch_size=2))
    maps = module(np.stack([pnasnet.images.preprocess(PATHS[0], (40, 40), "slim")]), as_dict=True)["Cell_1"]
    np.testing.assert_allclose(found[:1], np.maximum(maps, 0).mean((1, 2)), rtol=1e-4, atol=1e-5)
    assert list(features.get_feature_names_out()) == [f"Cell_1_{index}" for index in range(found.shape[1])]
    tiny = Path(__file__).parents[1] / "checkpoints" / "tiny_slim"
    assert ImageFeatures(tiny).fit_transform(PATHS).shape[1] == pnasnet.Module(tiny).model.plan.num_features
    with pytest.raises(InputError, match="is a URL: pass its host in allow_hosts"):
        features.transform(["https://example.org/a.jpg"])


def test_unknown_names_fail_when_fitted() -> None:
    with pytest.raises(UnknownNameError, match="unknown endpoint 'Cell_99': did you mean Cell_"):
        ImageFeatures("pnasnet_tiny", endpoint="Cell_99").fit()
    with pytest.raises(UnknownNameError, match="unknown model 'pnasnet_tinny': did you mean pnasnet_tiny"):
        ImageFeatures("pnasnet_tinny").fit()
    changed = ImageFeatures("pnasnet_tiny").fit().set_params(endpoint="Cell_99")
    for method in (changed.get_feature_names_out, lambda: changed.transform([PHOTOS / "chelsea.jpg"])):
        with pytest.raises(UnknownNameError, match="unknown endpoint 'Cell_99': did you mean Cell_"):
            method()


def test_tables_come_out_on_demand(expected: Any) -> None:
    frame = pd.DataFrame({"path": [str(path) for path in PATHS]}, index=[path.stem for path in PATHS])
    features = ImageFeatures("pnasnet_tiny").set_output(transform="pandas")
    for pictures in (frame, frame["path"]):
        found = features.fit_transform(pictures)
        assert list(found.index) == list(frame.index)
        assert list(found.columns) == [f"global_pool_{index}" for index in range(expected.shape[1])]
        np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-4, atol=1e-4)
    assert len(features.transform(PATHS)) == len(PATHS)
    table = ColumnTransformer([("image", ImageFeatures("pnasnet_tiny"), ["path"])]).fit(frame)
    assert table.get_feature_names_out()[0] == "image__global_pool_0"
    np.testing.assert_allclose(table.transform(frame), expected, rtol=1e-4, atol=1e-4)


def test_a_pipeline_learns_and_chooses_the_endpoint(tmp_path: Path) -> None:
    table = pq.read_table(CIFAR).slice(0, 120).to_pylist()
    pictures, labels = [row["image"]["bytes"] for row in table], [row["label"] for row in table]
    pipeline = make_pipeline(ImageFeatures("pnasnet_tiny"), LogisticRegression(C=0.01), memory=str(tmp_path))
    search = GridSearchCV(pipeline, {"imagefeatures__endpoint": ["Stem", "global_pool"]}, cv=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # no convergence
        search.fit(pictures, labels)
    assert search.best_params_ == {"imagefeatures__endpoint": "global_pool"}
    assert search.best_score_ > 0.6
    again = pickle.loads(pickle.dumps(search))
    assert again.score(pictures, labels) == search.score(pictures, labels) > 0.8


def test_a_pickled_transformer_refuses_other_weights(tmp_path: Path) -> None:
    module = pnasnet.Module("pnasnet_tiny", trainable=True)
    module.export(tmp_path / "m.safetensors")
    features = pickle.dumps(ImageFeatures(str(tmp_path / "m.safetensors")).fit())
    pickle.loads(features)
    module.trainable_variables[0].data.add_(1)
    module.export(tmp_path / "m.safetensors")
    with pytest.raises(WeightsMismatchError, match="have changed since the module was pickled"):
        pickle.loads(features)


def test_bytes_of_a_file_are_one_picture() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 5)).save(buffer, "PNG")
    assert ImageFeatures("pnasnet_tiny").fit_transform(buffer.getvalue()).shape[0] == 1
