"""What colours a map: folders, groups, numbers."""

import base64
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pnasnet.vectors import open_features
from pnasnet.vectors.colouring import MAX_GROUPS, Colouring, colourings
from pnasnet.vectors.features import PART_IDS

COUNT = 40


def table(paths: list[str], **columns: object) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(4 * len(paths), "f4")), 4)
    return pa.table({"path": paths, "embedding": vectors, "status": ["ok"] * len(paths), **columns})


def coloured(path: Path, paths: list[str], **columns: object) -> dict[str, Colouring]:
    pq.write_table(table(paths, **columns), path / "f.parquet")
    found = colourings(open_features(path / "f.parquet"), np.arange(len(paths)), paths)
    return {each.name: each for each in found}


def test_folders_below_the_one_that_all_share(tmp_path: Path) -> None:
    found = coloured(tmp_path, ["/data/a/1.jpg", "/data/a/2.jpg", "/data/b/c/3.jpg", "/data/4.jpg"])["folder"]
    assert found.groups == ("a", "b/c", ".")
    assert found.values.tolist() == [0, 0, 1, 2]


def test_one_folder_is_no_colour(tmp_path: Path) -> None:
    assert coloured(tmp_path, ["a/1.jpg", "a/2.jpg"]) == {}


def test_text_in_groups_by_size(tmp_path: Path) -> None:
    labels = ["owl", "cat", "cat", None]
    found = coloured(tmp_path, [f"{i}.jpg" for i in range(4)], label=pa.array(labels).dictionary_encode())
    assert found["label"].groups == ("cat", "owl", "none")
    assert found["label"].values.tolist() == [1, 0, 0, 2]
    assert "status" not in found


def test_the_smallest_groups_share_a_colour(tmp_path: Path) -> None:
    labels = [f"{i % MAX_GROUPS}" for i in range(COUNT)] + ["rare", "rarer"]
    found = coloured(tmp_path, [f"{i}.jpg" for i in range(COUNT + 2)], label=labels)["label"]
    assert len(found.groups) == MAX_GROUPS
    assert found.groups[-1] == "other"
    assert found.values[-2:].tolist() == [MAX_GROUPS - 1] * 2


def test_numbers_are_a_scale_and_few_of_them_are_groups(tmp_path: Path) -> None:
    scores = [None, *np.linspace(0, 1, COUNT - 1).tolist()]
    found = coloured(
        tmp_path, [f"{i}.jpg" for i in range(COUNT)], score=scores, year=[2000 + i % 3 for i in range(COUNT)]
    )
    assert found["score"].groups == ()
    assert np.isnan(found["score"].values[0])
    assert found["score"].values[-1] == 1
    assert set(found["year"].groups) == {"2000", "2001", "2002"}


def test_rows_of_a_folder_of_parts(tmp_path: Path) -> None:
    for number, label in enumerate(("cat", "owl")):
        columns = {"label": [label] * 2, **({} if number else {"only": ["x", "y"]})}
        pq.write_table(table([f"{label}{i}.jpg" for i in range(2)], **columns), tmp_path / f"part-{number}.parquet")
    ids = np.array([PART_IDS + 1, 0])
    (found,) = colourings(open_features(tmp_path), ids, ["owl1.jpg", "cat0.jpg"])
    assert (found.name, [found.groups[value] for value in found.values]) == ("label", ["owl", "cat"])


def test_texts_are_cleaned_for_a_page() -> None:
    encoded = Colouring("na\u202eme", np.array([0, 1], np.uint8), ("a\x1b[31m", "b")).to_dict()
    assert "\u202e" not in encoded["name"]
    assert "\x1b" not in encoded["groups"][0]
    assert base64.b64decode(encoded["values"]) == b"\x00\x01"
