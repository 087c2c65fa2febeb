"""`pnasnet similar`: from photos to similar ones, with and without an index."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pnasnet.vectors.index import index_folder

from tests.helpers.chromium import browser_page
from tests.helpers.cli_runs import MODEL, PHOTOS, error_of, run, usage_error_of
from tests.helpers.corpus import tar, zipped
from tests.helpers.html_page import Page
from tests.helpers.http_answers import body, http_server
from tests.helpers.vectors_data import clustered, write_features

ENGINE = MODEL[2:]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(PHOTOS, folder)
    for photo in sorted(folder.glob("*.jpg")):
        with Image.open(photo) as picture:
            picture.resize((picture.width // 2, picture.height // 2)).save(folder / f"small_{photo.name}")
    return folder


@pytest.fixture
def features(tmp_path: Path, photos: Path) -> Path:
    path = tmp_path / "features.parquet"
    assert run("embed", photos, *MODEL, "-o", path).exit_code == 0
    return path


def listed(output: str) -> dict[str, list[tuple[float, str]]]:
    """Return what was printed: the pictures under each query, with their similarities."""
    found: dict[str, list[tuple[float, str]]] = {}
    under: list[tuple[float, str]] = []
    for line in output.splitlines():
        if line.startswith("  "):
            similarity, _, name = line.strip().partition("  ")
            under.append((float(similarity), name))
        else:
            under = found.setdefault(line, [])
    return found


def restate(features: Path, key: str, value: str) -> None:
    """Change what the metadata say."""
    table = pq.read_table(features)
    stated = {**table.schema.metadata, f"pnasnet.{key}".encode(): value.encode()}
    pq.write_table(table.replace_schema_metadata(stated), features)


def test_an_image_of_the_features_needs_neither_model_nor_file(photos: Path, features: Path) -> None:
    shutil.rmtree(photos)
    result = run("similar", photos / "chelsea.jpg", features, "-k", "3")
    assert result.exit_code == 0, result.output
    found = listed(result.stdout)[f"{photos}/chelsea.jpg"]
    assert len(found) == 3
    assert found[0][1] == f"{photos}/small_chelsea.jpg"
    assert found[0][0] > 0.999
    assert result.stderr == "there is no index: reading all 8 rows; build one with --index\n"


def test_new_photos_are_embedded_as_the_features_were(tmp_path: Path, photos: Path, features: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(photos / "coffee.jpg", new / "cup.jpg")
    shutil.copy(photos / "rocket.jpg", new / "start.jpg")
    result = run("similar", new, features, *ENGINE, "-k", "2", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = listed(result.stdout)
    assert [names[0] for names in found.values()] == [
        (1.0, f"{photos}/coffee.jpg"),
        (1.0, f"{photos}/rocket.jpg"),
    ]


def test_with_an_index_the_answer_is_the_same(tmp_path: Path, photos: Path, features: Path) -> None:
    queries = [photos / "chelsea.jpg", photos / "rocket.jpg"]
    expected = run("similar", *queries, features).stdout
    built = run("similar", "--index", features, "--quiet")
    assert (built.exit_code, built.output) == (0, "")
    assert index_folder(features).is_dir()
    assert run("similar", "--index", features).stderr.splitlines()[-1] == f"{index_folder(features)}: 8 vectors"
    result = run("similar", *queries, features)
    assert result.stderr == ""
    assert run("similar", *queries, features, "--exact").stdout == expected
    for answer in (result, run("similar", *queries, features, "--index")):
        for query, found in listed(answer.stdout).items():
            wanted = listed(expected)[query]
            assert [similarity for similarity, _ in found] == pytest.approx([s for s, _ in wanted], abs=2e-4)
            assert {name for _, name in found} == {name for _, name in wanted}


def test_a_folder_that_grows(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    write_features(folder / "part-0.parquet", clustered(20))
    assert run("similar", "part-0/3.jpg", folder, "--index").exit_code == 0
    write_features(folder / "part-1.parquet", clustered(20))  # the same vectors again
    assert "lacks 1 of 2 parts: finish it with --index, or search with --exact" in error_of(
        run("similar", "part-0/3.jpg", folder)
    )
    for option in ("--exact", "--index"):
        found = listed(run("similar", "part-0/3.jpg", folder, option, "-k", "1").stdout)
        assert found == {"part-0/3.jpg": [(1.0, "part-1/3.jpg")]}


def test_json(photos: Path, features: Path) -> None:
    (photos / "empty.jpg").touch()
    result = run("similar", photos / "chelsea.jpg", photos / "empty.jpg", features, "--json", "-k", "2", *ENGINE, "-q")
    assert result.exit_code == 3
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["path"] == f"{photos}/chelsea.jpg"
    assert first["error"] is None
    assert [set(each) for each in first["similar"]] == [{"path", "similarity"}] * 2
    assert second["similar"] == []
    assert "empty.jpg" in second["error"]


def test_page_of_pictures(tmp_path: Path, photos: Path, features: Path) -> None:
    (photos / "rocket.jpg").unlink()
    page = tmp_path / "similar.html"
    result = run("similar", photos / "chelsea.jpg", features, "-k", "7", "--html", page)
    assert result.exit_code == 0, result.output
    shown = Page(page.read_text("utf-8"))
    assert shown.tags["img"] == 7
    assert shown.values("alt")[:2] == [f"{photos}/chelsea.jpg", f"{photos}/small_chelsea.jpg"]
    size = (photos / "chelsea.jpg").stat().st_size
    assert f"Query 451 x 300 pixels, {size / 1e3:.0f} kB chelsea.jpg Copy path" in shown.text
    assert shown.text.count("cannot be opened") == 1
    assert "rocket.jpg" in shown.text
    assert f"From {features}: vectors of tiny_hub_tf1, preset hub." in shown.text
    assert result.stderr.splitlines()[-1] == f"{page}: written"
    assert all(value.startswith("data:image/jpeg;base64,") for value in shown.values("src"))


def test_pictures_in_shards_and_behind_urls(tmp_path: Path) -> None:
    """As features and as queries, and all of them on the page, as far as they are there."""
    photos = {path.name: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))}
    first, *rest = photos
    shard, page = tmp_path / "a.tar.gz", tmp_path / "similar.html"
    shard.write_bytes(tar({name: photos[name] for name in rest}, "w:gz"))
    (tmp_path / "new.zip").write_bytes(zipped({"new.jpg": photos[rest[0]], "bad.jpg": b"no"}))
    (tmp_path / "cut.tar").write_bytes(tar(photos)[:2000])
    with http_server({f"/{first}": body(photos[first]), "/new.tar": body(tar({"cup.jpg": photos[rest[1]]}))}) as url:
        features = tmp_path / "features.parquet"
        assert run("embed", shard, f"{url}/{first}", *MODEL, "-o", features, "-q").exit_code == 0
        queries: list[str | Path] = [
            f"{url}/new.tar",
            tmp_path / "new.zip",
            f"{shard}/{rest[2]}",
            tmp_path / "cut.tar",
            f"{url}/{first}",
        ]
        hosts = ("--allow-url-host", "127.0.0.1", "--allow-url-host", "localhost")
        result = run("similar", *queries, features, *ENGINE, "-q", "-k", "1", "--html", page, *hosts)
        shard.unlink()
        known = run(
            "similar", shard / rest[0], f"{url}/{first}", features, "-q", "-k", "3", "--html", tmp_path / "2.html"
        )
    assert result.exit_code == 3
    found = listed(result.stdout)
    assert list(found) == [f"{url}/new.tar/cup.jpg", f"{tmp_path}/new.zip/new.jpg", str(queries[2]), f"{url}/{first}"]
    assert found[f"{url}/new.tar/cup.jpg"] == [(1.0, f"{shard}/{rest[1]}")]
    assert found[f"{tmp_path}/new.zip/new.jpg"] == [(1.0, f"{shard}/{rest[0]}")]
    bad, cut = result.stderr.splitlines()
    assert bad.startswith(f"failed: {tmp_path}/new.zip/bad.jpg: not an image of a known format")
    assert cut.startswith(f"failed: {tmp_path}/cut.tar: not a tar, or damaged from here on")
    assert Page(page.read_text("utf-8")).tags["img"] == 8
    assert known.exit_code == 0, known.output
    assert known.stderr.startswith(f"3 of 4 images could not be opened: 3 such as {shard}/{rest[0]}: no such file")
    assert Page((tmp_path / "2.html").read_text("utf-8")).tags["img"] == 2


def test_page_in_a_browser(tmp_path: Path, photos: Path, features: Path) -> None:
    """It shows the pictures, in rows of their own, and asks nothing of the network."""
    path = tmp_path / "similar.html"
    run("similar", photos / "chelsea.jpg", photos / "rocket.jpg", features, "-k", "2", "--html", path)
    with browser_page() as page:
        page.goto(path.as_uri())
        page.wait_for_function("[...document.images].filter((i) => i.complete && i.naturalWidth > 100).length == 6")
        boxes = [image.bounding_box() for image in page.locator("img").all()]
        assert [page.locator("#answers h2").nth(row).inner_text() for row in range(2)] == [
            f"{photos}/chelsea.jpg",
            f"{photos}/rocket.jpg",
        ]
    tops = [box["y"] for box in boxes if box and box["width"] > 100]
    assert len(tops) == 6
    assert tops[0] < tops[1] == tops[2] < tops[3] < tops[4] == tops[5]


def test_unreadable_photos_are_named(tmp_path: Path, photos: Path, features: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    result = run("similar", tmp_path / "text.jpg", photos / "coffee.jpg", features, *ENGINE, "-q", "-k", "1")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"failed: {tmp_path}/text.jpg: not an image of a known format")
    assert list(listed(result.stdout)) == [f"{photos}/coffee.jpg"]
    alone = run("similar", tmp_path / "text.jpg", features, *ENGINE, "-q")
    assert (alone.exit_code, alone.stdout) == (3, "")


@pytest.mark.parametrize(
    ("key", "value"),
    [("preset", "slim"), ("exif", "true"), ("weights_sha256", "0"), ("image_size", "96x96"), ("endpoint", "Logits")],
)
def test_photos_are_never_compared_with_vectors_of_another_kind(
    tmp_path: Path, photos: Path, features: Path, key: str, value: str
) -> None:
    """What can be followed is followed; what cannot is refused."""
    restate(features, key, value)
    shutil.copy(photos / "coffee.jpg", tmp_path / "new.jpg")
    result = run("similar", tmp_path / "new.jpg", features, *ENGINE, "-q", "-k", "1")
    if key in ("preset", "exif"):
        assert result.exit_code == 0, result.output
    elif key == "endpoint":
        assert "unknown endpoint 'Logits'" in usage_error_of(result)
    else:
        assert f"cannot be compared: {key} is " in error_of(result)


def test_the_features_model_may_have_moved(tmp_path: Path, photos: Path, features: Path) -> None:
    restate(features, "weights", "/gone/model")
    shutil.copy(photos / "coffee.jpg", tmp_path / "new.jpg")
    asked = ("similar", tmp_path / "new.jpg", features, "-q", "-k", "1")
    assert "/gone/model" in error_of(run(*asked, *ENGINE))
    assert listed(run(*asked, *MODEL).stdout)[f"{tmp_path}/new.jpg"] == [(1.0, f"{photos}/coffee.jpg")]
    assert "cannot be compared: model is pnasnet_tiny against tiny_hub_tf1" in error_of(
        run(*asked, "-m", "pnasnet_tiny")
    )


def test_features_named_before_a_folder_of_photos(photos: Path, features: Path) -> None:
    result = run("similar", features, photos)
    assert result.exit_code == 2
    message = (
        f"{photos} holds no features, but {features} does; FEATURES comes last: pnasnet similar {photos} {features}"
    )
    assert message in result.stderr


def test_features_without_metadata_need_a_model(tmp_path: Path, photos: Path, features: Path) -> None:
    pq.write_table(pq.read_table(features).replace_schema_metadata({}), features)
    shutil.copy(photos / "coffee.jpg", tmp_path / "new.jpg")
    asked = ("similar", tmp_path / "new.jpg", features, "-k", "1")
    assert "does not state the model of its vectors: name it with --model" in error_of(run(*asked, "-q"))
    result = run(*asked, *MODEL)
    assert listed(result.stdout)[f"{tmp_path}/new.jpg"] == [(1.0, f"{photos}/coffee.jpg")]
    assert "so it cannot be checked that its vectors are comparable" in result.stderr


def test_an_approximate_search_says_so(photos: Path, features: Path, tmp_path: Path) -> None:
    query, page = photos / "chelsea.jpg", tmp_path / "page.html"
    assert "has no approximate index" in error_of(run("similar", query, features, "--approximate", *ENGINE))
    built = run("similar", query, features, "-k", "3", "--index", "--approximate", "--html", page, *ENGINE)
    assert built.exit_code == 0, built.output
    assert "the results are approximate: some of the nearest may be missing" in built.stderr
    exact = run("similar", query, features, "-k", "3", "--exact", *ENGINE)
    assert listed(built.stdout) == listed(exact.stdout)
    assert "approximate" not in exact.stderr
    assert "The search was approximate" in page.read_text("utf-8")
    as_json = run("similar", query, features, "--approximate", "--json", "-q", *ENGINE)
    assert json.loads(as_json.stdout)["approximate"] is True
    both = run("similar", query, features, "--approximate", "--exact")
    assert "a search is either approximate or exact" in usage_error_of(both)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.jpg", "none.parquet"], "none.parquet does not exist: name a Parquet file with vectors, or a folder of"),
        (["a.jpg", "text.parquet"], "text.parquet cannot be read as Parquet"),
        (["a.jpg", "empty"], "empty holds no features (no part-*.parquet): name a folder"),
        (["a.jpg", "f.parquet"], "'a.jpg' does not exist: check the path"),
        (["f/0.jpg", "f.parquet", "--column", "x"], "unknown column of vectors 'x': the only one is embedding"),
        (["f/0.jpg", "failed.parquet", "--index"], "'f/0.jpg' does not exist"),
        (["--index", "failed.parquet"], "failed.parquet holds no vectors: all of its 3 images failed"),
        (
            ["f/0.jpg", "f.parquet", "--html", "none/x.html"],
            "cannot write none/x.html: there is no folder none; create",
        ),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("text")
    write_features(tmp_path / "f.parquet", clustered(9))
    write_features(tmp_path / "failed.parquet", clustered(3), failed=range(3))
    assert message in error_of(run("similar", *arguments), 2 if "--column" in arguments else 1)


def test_no_neighbour_at_all() -> None:
    result = run("similar", "a.jpg", "f.parquet", "-k", "0")
    assert result.exit_code == 2
    assert "Invalid value for '-k'" in result.stderr


def test_similar_without_a_query() -> None:
    result = run("similar", "f.parquet")
    assert result.exit_code == 2
    assert "name an image and the features to search, or pass --index to build their index" in result.stderr


def test_the_shipped_model(tmp_path: Path) -> None:
    features = tmp_path / "features.parquet"
    assert run("embed", PHOTOS, "--model", "pnasnet_tiny", "-o", features, "-q").exit_code == 0
    with Image.open(PHOTOS / "chelsea.jpg") as picture:
        picture.save(tmp_path / "again.jpg", quality=70)
    found = listed(run("similar", tmp_path / "again.jpg", features, "-k", "1", "-q").stdout)
    ((similarity, name),) = found[f"{tmp_path}/again.jpg"]
    assert name.endswith("chelsea.jpg")
    assert similarity > 0.9
    assert np.isfinite(similarity)


def test_an_image_in_place_of_features_is_reported_with_the_right_order() -> None:
    result = run("similar", "features.parquet", "photo.jpg")
    assert result.exit_code == 2
    assert "FEATURES comes last: pnasnet similar photo.jpg features.parquet" in result.stderr


def test_a_page_replaces_neither_the_features_nor_the_query(features: Path, tmp_path: Path) -> None:
    query = PHOTOS / "coffee.jpg"
    for page in (features, tmp_path / "photo.jpg"):
        assert "name a file that ends in .html" in usage_error_of(run("similar", query, features, "--html", page))
    odd = shutil.copy(features, tmp_path / "features.html")
    assert "it is also an input" in error_of(run("similar", query, odd, "--html", odd))
