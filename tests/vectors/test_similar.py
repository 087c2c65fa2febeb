"""Similar images by name: which index is used, and what is refused."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError, WeightsNotFoundError
from pnasnet.module.choice import ModelChoice
from pnasnet.pictures import Access
from pnasnet.vectors import Features, open_features, search_exactly, similar_page
from pnasnet.vectors.similar import SearchOptions, find_similar, wrong_order

from tests.helpers.vectors_data import clustered, write_features

PHOTO = next((Path(__file__).parents[1] / "photos").glob("*.jpg"))
NO_MODEL = ModelChoice("")
TINY = ModelChoice("pnasnet_tiny", engine=EngineOptions("fake"))
VECTORS = clustered(60)


@pytest.fixture
def features(tmp_path: Path) -> Features:
    return open_features(write_features(tmp_path / "f.parquet", VECTORS))


@pytest.mark.parametrize("options", [SearchOptions(build=True), SearchOptions(), SearchOptions(exact=True)])
def test_the_nearest_with_and_without_an_index(
    features: Features, options: SearchOptions, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pnasnet"):
        (answer,) = find_similar(features, ["f/3.jpg"], 5, NO_MODEL, options)
    (expected,) = search_exactly(features, VECTORS[[3]], 5, without=[3])
    assert [entry.path for entry in answer.entries] == [f"f/{row}.jpg" for row in expected.ids]
    assert answer.similarities == pytest.approx(expected.similarities.tolist(), abs=1e-4)
    assert not answer.approximate
    assert any("there is no index: reading all 60 rows" in line for line in caplog.messages) == (
        options == SearchOptions()
    )


def test_an_index_is_used_unless_the_search_is_exact(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    find_similar(features, ["f/3.jpg"], 5, NO_MODEL, SearchOptions(build=True))
    exactly: list[int] = []

    def search(*arguments: object, **options: object) -> object:
        exactly.append(1)
        return search_exactly(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("pnasnet.vectors.similar.search_exactly", search)
    for options, times in ((SearchOptions(), 0), (SearchOptions(exact=True), 1)):
        find_similar(features, ["f/3.jpg"], 5, NO_MODEL, options)
        assert len(exactly) == times


def test_a_damaged_index_does_not_concern_an_exact_search(features: Features) -> None:
    find_similar(features, ["f/3.jpg"], 5, NO_MODEL, SearchOptions(build=True))
    (features.path.with_name(f"{features.path.name}.index") / "index.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        find_similar(features, ["f/3.jpg"], 5, NO_MODEL, SearchOptions())
    assert len(find_similar(features, ["f/3.jpg"], 5, NO_MODEL, SearchOptions(exact=True))[0].entries) == 5


def test_a_search_is_either_approximate_or_exact() -> None:
    with pytest.raises(InputError, match="leave out --approximate or --exact"):
        SearchOptions(approximate=True, exact=True)
    assert SearchOptions(exact=True).exact
    assert SearchOptions(approximate=True).approximate


@pytest.mark.parametrize("length", [960, 40])
def test_a_model_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(clustered(9, length).reshape(-1), length)
    pq.write_table(pa.table({"path": [f"{n}.jpg" for n in range(9)], "vector": vectors}), tmp_path / "f.parquet")
    features = open_features(tmp_path / "f.parquet")
    with pytest.raises(InputError, match="does not state the model of its vectors: name it with --model"):
        find_similar(features, [str(PHOTO)], 3, NO_MODEL, SearchOptions())
    if length == 960:
        (answer,) = find_similar(features, [str(PHOTO)], 3, TINY, SearchOptions())
        assert (answer.query.path, len(answer.entries)) == (str(PHOTO), 3)
        return
    with pytest.raises(InputError, match=r"computes vectors of length 960, but those of .* have length 40"):
        find_similar(features, [str(PHOTO)], 3, TINY, SearchOptions())


@pytest.mark.parametrize("approximate", [True, False])
def test_a_page_says_whether_the_search_was_approximate(features: Features, approximate: bool) -> None:
    pytest.importorskip("faiss")
    options = SearchOptions(build=True, approximate=approximate)
    answers = find_similar(features, ["f/3.jpg"], 2, NO_MODEL, options)
    assert [answer.approximate for answer in answers] == [approximate]
    page = similar_page(features, answers, Access())
    assert ("The search was approximate: some of the most similar may be missing." in page) == approximate
    assert np.isfinite(answers[0].similarities).all()


@pytest.mark.parametrize("model", ["", "pnasnet_tiny"])
def test_weights_that_do_not_exist_are_an_error_even_if_no_query_needs_them(features: Features, model: str) -> None:
    choice = ModelChoice(model, "gone.safetensors")
    with pytest.raises(WeightsNotFoundError, match=r"^gone\.safetensors does not exist"):
        find_similar(features, ["f/3.jpg"], 5, choice, SearchOptions())


def test_the_recorded_model_is_opened_only_for_new_images(features: Features) -> None:
    engine = EngineOptions("fake")
    assert find_similar(features, ["f/3.jpg"], 5, ModelChoice("", engine=engine), SearchOptions())
    with pytest.raises(InputError, match=r"^vectors of pnasnet_tiny \(pnasnet_tiny\) and of .* cannot be compared"):
        find_similar(features, [str(PHOTO)], 5, ModelChoice("", engine=engine), SearchOptions())  # other weights


def test_the_order_of_arguments_is_told_by_what_they_hold(tmp_path: Path) -> None:
    table = str(write_features(tmp_path / "f.parquet", VECTORS, columns=("large", "mobile")))
    (tmp_path / "text.parquet").write_text("text")
    text = str(tmp_path / "text.parquet")
    assert wrong_order(table, [text]) is None
    assert wrong_order(text, [text]) is None
    found = wrong_order(text, [table])
    assert found == f"{text} holds no features, but {table} does; FEATURES comes last: pnasnet similar {text} {table}"
