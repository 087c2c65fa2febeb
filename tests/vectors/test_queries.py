"""What is searched for: in the features or not, by path, by pattern; and how often the features are read for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import InputError
from pnasnet.vectors import Features, open_features
from pnasnet.vectors.parts import Numbers
from pnasnet.vectors.queries import Query, find_queries
from pnasnet.vectors.sketch import Vectors

from tests.helpers.vectors_data import clustered, write_features

VECTORS = clustered(3)
ON_DISK = {"b": ["b"], "new": ["new"], "bad": ["bad"], "*": ["b", "new"]}


@pytest.fixture
def features(tmp_path: Path) -> Features:
    return open_features(write_features(tmp_path / "f.parquet", VECTORS, ["a", "b", "lost"], failed=[2]))


def expand(names: list[str]) -> list[str]:
    (name,) = names
    if name not in ON_DISK:
        raise InputError(f"{name} is not there")
    return ON_DISK[name]


def embed(paths: list[str]) -> Iterator[tuple[str, Vectors | None, str | None]]:
    for path in paths:
        yield (path, None, "damaged") if path == "bad" else (path, np.full(40, 7, np.float32), None)


def told(queries: list[Query]) -> list[tuple[str, int | None, float | None, str | None]]:
    """Return path, row, first number of the vector, and error of each query."""
    return [(q.path, q.id, None if q.vector is None else float(q.vector[0]), q.error) for q in queries]


A, B = ("a", 0, float(VECTORS[0, 0]), None), ("b", 1, float(VECTORS[1, 0]), None)
NEW, BAD = ("new", None, 7.0, None), ("bad", None, None, "damaged")


def test_queries_are_in_the_order_of_their_names(features: Features) -> None:
    assert told(find_queries(features, ["new", "a", "*", "bad", "a"], expand, embed)) == [NEW, A, B, NEW, BAD, A]


def test_other_spellings_of_a_path(features: Features) -> None:
    """An image in the features must not be found as its own neighbour."""
    queries = find_queries(features, ["./a", ".//b", "a"], expand, embed)
    assert [(query.path, query.id) for query in queries] == [("./a", 0), (".//b", 1), ("a", 0)]


def test_images_in_the_features_are_not_embedded(features: Features) -> None:
    def fail(paths: list[str]) -> list[tuple[str, Vectors | None, str | None]]:
        raise AssertionError(paths)

    assert told(find_queries(features, ["a", "b"], expand, fail)) == [A, B]


@pytest.mark.parametrize("name", ["nowhere", "lost"])
def test_a_name_that_is_neither_in_the_features_nor_on_disk(features: Features, name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} is not there$"):
        find_queries(features, ["a", name], expand, embed)


@pytest.mark.parametrize(
    ("names", "looked_for"),
    [
        (["a", "b", "a"], [["a", "b", "a"]]),
        (["a", "new"], [["a", "new"]]),
        (["a", "*", "b"], [["a", "*", "b"], ["new"]]),
    ],
)
def test_features_are_read_once_for_all_names(
    features: Features, monkeypatch: pytest.MonkeyPatch, names: list[str], looked_for: list[list[str]]
) -> None:
    asked, find = list[list[str]](), Features.lookup

    def noting(self: Features, paths: list[str]) -> dict[str, tuple[int, Numbers]]:
        asked.append(paths)
        return find(self, paths)

    monkeypatch.setattr(Features, "lookup", noting)
    find_queries(features, names, expand, embed)
    assert asked == looked_for


def test_remote_names_are_expanded_only_if_not_in_the_features(tmp_path: Path) -> None:
    there = ["https://host/a.jpg", "hf:photos/train#3", "s3://bucket/c.jpg"]
    features, asked = open_features(write_features(tmp_path / "f.parquet", VECTORS, there)), list[str]()

    def far(names: list[str]) -> list[str]:
        asked.extend(names)
        return ["s3://bucket/c.jpg", "s3://bucket/d.jpg"]

    found = find_queries(features, [*there[:2], "s3://bucket", there[0]], far, embed)
    assert [(query.path, query.id) for query in found] == [
        (there[0], 0), (there[1], 1), (there[2], 2), ("s3://bucket/d.jpg", None), (there[0], 0),
    ]  # fmt: skip
    assert asked == ["s3://bucket"]
