"""Maps of images: coordinates, neighbours, the table for embedding-atlas, the page."""

import io
import json
import re
import sys
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from pnasnet.errors import InputError, MissingExtraError, OutputError, UnknownNameError
from pnasnet.pictures import Access
from pnasnet.vectors import (
    ExploreOptions,
    PictureMap,
    build_index,
    explore,
    make_map,
    map_page,
    open_features,
    projection,
    write_atlas,
)
from pnasnet.vectors.projection import Neighbours, choose_projection, feasible, nearest_of_all, project

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.html_page import Page
from tests.helpers.vectors_data import clustered, cosines, write_features

PCA = ExploreOptions(projection="pca")
OPEN = Access((str(PHOTOS),))
CHELSEA, COFFEE = str(PHOTOS / "chelsea.jpg"), str(PHOTOS / "coffee.jpg")
AWKWARD = "</script><script>alert(1)</script>\u2028 {{ 7 * 7 }}.jpg"


def mapped(folder: Path, options: ExploreOptions = PCA, count: int = 120, names: tuple[str, ...] = ()) -> PictureMap:
    paths = [*names, *(f"{i}.jpg" for i in range(len(names), count))]
    features = open_features(write_features(folder / "f.parquet", clustered(count, 300), paths))
    with build_index(features) as index:
        return make_map(index, options)


def data_of(page: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    loaded: dict[str, object] = json.loads(text)
    return loaded


def test_neighbours_are_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_ROWS", 16)
    monkeypatch.setattr(projection, "_COLUMNS", 25)
    shown = mapped(tmp_path)
    similarities = cosines(clustered(120, 300), clustered(120, 300))
    np.fill_diagonal(similarities, -1)
    assert shown.neighbours.places.shape == shown.neighbours.distances.shape == (120, 15)
    np.testing.assert_allclose(
        1 - shown.neighbours.distances, np.take_along_axis(similarities, shown.neighbours.places, 1), atol=1e-4
    )
    assert (np.diff(shown.neighbours.distances, axis=1) >= 0).all()
    nearest = np.sort(similarities, axis=1)[:, ::-1][:, :15]
    assert np.mean(np.abs(nearest - (1 - shown.neighbours.distances)) < 1e-4) > 0.95


def test_neighbours_in_every_direction_of_the_vectors(tmp_path: Path) -> None:
    """Vectors in a plane: without one of its two directions, most neighbours would be others."""
    angles = np.random.default_rng(0).permutation(np.linspace(0, np.pi / 2, 40))
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    with build_index(open_features(write_features(tmp_path / "f.parquet", vectors))) as index:
        found = nearest_of_all(index, np.arange(40), 2)
    apart = np.abs(angles[found.places] - angles[:, None])
    inner = (angles > angles.min()) & (angles < angles.max())
    np.testing.assert_allclose(apart[inner], np.pi / 2 / 39, rtol=1e-6)  # both are next to it
    np.testing.assert_allclose(1 - found.distances, np.cos(apart), atol=1e-3)


def test_umap_gets_the_vectors_and_their_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each vector as its own nearest neighbour; a stand-in, because the library may not be installed."""
    given: dict[str, Any] = {}

    class Umap:
        def __init__(self, **options: Any) -> None:
            given.update(options)

        def fit_transform(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
            given["vectors"] = vectors
            return np.column_stack([np.arange(20) * 2 + 7, np.arange(20) % 3]).astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    places, distances = np.arange(40).reshape(20, 2) % 20, np.full((20, 2), 0.25, np.float32)
    with build_index(open_features(write_features(tmp_path / "f.parquet", clustered(20, 5)))) as index:
        points = project(index, np.arange(20), Neighbours(places, distances), "umap")
    assert (given["n_neighbors"], given["metric"], given["random_state"]) == (3, "cosine", 0)
    own_places, own_distances, _ = given["precomputed_knn"]
    np.testing.assert_array_equal(own_places, np.column_stack([np.arange(20), places]))
    np.testing.assert_array_equal(own_distances, [[0, 0.25, 0.25]] * 20)
    products = given["vectors"] @ given["vectors"].T
    np.testing.assert_allclose(products, cosines(clustered(20, 5), clustered(20, 5)), atol=1e-3)
    np.testing.assert_allclose(points, np.column_stack([np.arange(20) / 19, np.arange(20) % 3 / 38]), atol=1e-6)


def test_points_by_principal_components(tmp_path: Path) -> None:
    """Points of one cluster are close together; the longer axis goes from 0 to 1."""
    shown = mapped(tmp_path)
    assert shown.points.dtype == np.float32
    assert shown.points.min() == 0
    assert shown.points.max() == 1
    near = np.linalg.norm(shown.points - shown.points[shown.neighbours.places[:, 0]], axis=1).mean()
    assert near < 0.4 * np.linalg.norm(shown.points - shown.points[::-1], axis=1).mean()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few(tmp_path: Path, count: int) -> None:
    shown = mapped(tmp_path, count=count)
    assert shown.points.shape == (count, 2)
    assert np.isfinite(shown.points).all()
    assert shown.neighbours.places.shape == (count, count - 1)
    write_atlas(tmp_path / "t.parquet", shown, PCA, OPEN)
    assert data_of(map_page(shown, "t", PCA, OPEN))["names"] == [f"{i}.jpg" for i in range(count)]


def test_a_sample_is_spread_evenly(tmp_path: Path) -> None:
    shown = mapped(tmp_path, ExploreOptions(points=7, projection="pca"))
    assert [picture.path for picture in shown.pictures] == [f"{i}.jpg" for i in (0, 19, 39, 59, 79, 99, 119)]
    assert shown.total == 120
    assert shown.neighbours.places.max() < 7
    assert "7 images, sampled evenly from 120," in Page(map_page(shown, "t", PCA, OPEN)).text


def test_umap(tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="the extra maps is not installed")
    shown = mapped(tmp_path, ExploreOptions(projection="umap"))
    again = mapped(tmp_path, ExploreOptions(projection="umap"))
    assert shown.projection == "umap"
    np.testing.assert_array_equal(shown.points, again.points)
    near = np.linalg.norm(shown.points - shown.points[shown.neighbours.places[:, 0]], axis=1).mean()
    assert near < 0.3 * np.linalg.norm(shown.points - shown.points[::-1], axis=1).mean()


def test_which_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    assert choose_projection(None) == "pca"
    with pytest.raises(MissingExtraError, match=r"projection umap needs umap-learn.*pip install 'pnasnet\[maps\]'"):
        choose_projection("umap")
    monkeypatch.setattr(projection, "find_spec", lambda name: sys)
    assert choose_projection(None) == choose_projection("umap") == "umap"
    assert choose_projection("pca") == "pca"
    with pytest.raises(UnknownNameError, match="unknown projection 'tsne': choose one of: pca, umap"):
        choose_projection("tsne")


@pytest.mark.parametrize(("count", "used"), [(4, "pca"), (17, "pca"), (18, "umap")])
def test_few_images_are_placed_by_principal_components(count: int, used: str) -> None:
    k = min(15, count - 1)
    assert feasible("umap", Neighbours(np.zeros((count, k), np.int64), np.zeros((count, k), np.float32))) == used


def test_table_for_embedding_atlas(tmp_path: Path) -> None:
    shown = mapped(tmp_path, names=(CHELSEA, AWKWARD))
    write_atlas(tmp_path / "t.parquet", shown, PCA, OPEN)
    table = pq.read_table(tmp_path / "t.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "path": "string",
        "image": "struct<bytes: binary, path: string>",
        "width": "int32",
        "height": "int32",
        "x": "float",
        "y": "float",
        "neighbors": "struct<ids: list<element: int64>, distances: list<element: float>>",
    }
    first, second = table.slice(0, 2).to_pylist()
    with Image.open(io.BytesIO(first["image"]["bytes"])) as picture:
        assert picture.size == (96, 64)
    assert second["image"] == {"bytes": None, "path": AWKWARD}
    assert first["neighbors"]["ids"] == shown.neighbours.places[0].tolist()
    np.testing.assert_allclose(first["neighbors"]["distances"], shown.neighbours.distances[0])
    assert (first["x"], first["y"]) == tuple(shown.points[0])
    with pytest.raises(OutputError, match=r"cannot write .*none/t\.parquet"):
        write_atlas(tmp_path / "none/t.parquet", shown, PCA, OPEN)


def test_page(tmp_path: Path) -> None:
    shown = mapped(tmp_path, names=(CHELSEA, COFFEE, AWKWARD))
    text = map_page(shown, "Map of <f>", PCA, OPEN)
    page, data = Page(text), data_of(text)
    assert "120 images placed by principal components" in page.text.replace(" ,", ",")
    assert "118 images could not be opened." in page.text
    points = np.frombuffer(b64decode(str(data["points"])), "<f4").reshape(-1, 2)
    np.testing.assert_array_equal(points, shown.points)
    nearest = np.frombuffer(b64decode(str(data["neighbours"])), "<i4").reshape(120, -1)
    np.testing.assert_array_equal(nearest, shown.neighbours.places[:, :8])
    sketches = np.frombuffer(b64decode(str(data["sketches"])), "i1").reshape(120, -1) / 127
    assert sketches.shape[1] <= 64
    vectors = clustered(120, 300)
    np.testing.assert_allclose(sketches @ sketches.T, cosines(vectors, vectors), atol=0.1)
    names, images = data["names"], data["images"]
    assert isinstance(names, list)
    assert names[2] == AWKWARD.replace("\u2028", r"\u2028")
    assert isinstance(images, dict)
    assert sorted(images) == ["0", "1"]
    assert page.tags["script"] == 2  # its data and its code, none by a URL
    assert page.tags["img"] == 3  # two in the list, and one for the pointer
    assert not re.search(r"https?:|@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_number_of_thumbnails_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "PAGE_THUMBNAILS", 5)
    shown = mapped(tmp_path, count=20, names=(CHELSEA,) * 20)
    images = data_of(map_page(shown, "t", PCA, OPEN))["images"]
    assert isinstance(images, dict)
    assert list(images) == ["0", "4", "9", "14", "19"]


@pytest.mark.parametrize("wrong", [{"points": 0}, {"neighbours": 0}, {"thumbnail": 7}, {"thumbnail": 513}])
def test_impossible_options(wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(InputError, match=f"^{name} must be (at least 1|from 8 to 512), not {wrong[name]}$"):
        ExploreOptions(**wrong)  # type: ignore[arg-type]
