"""Similar images among features that `pnasnet embed` wrote."""

from pathlib import Path

import pytest

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.serve import Service, open_gallery
from pnasnet.serve.auth import ApiKeys

from tests.helpers.chromium import browser_page, wait_until
from tests.helpers.cli_runs import PHOTOS, run
from tests.helpers.serving import fake_module, live


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "features.parquet"
    assert run("embed", PHOTOS, "--model", "pnasnet_tiny", "-o", out).exit_code == 0
    return out


@pytest.mark.parametrize("indexed", [False, True])
def test_the_nearest_images(features: Path, module: Module, indexed: bool) -> None:
    if indexed:
        assert run("similar", "--index", features).exit_code == 0
    models = {"other": fake_module(), "tiny": module}
    service = Service(models, gallery=open_gallery(str(features), models))
    photo = PHOTOS / "chelsea.jpg"
    with live(service) as server:
        answer = server.post("/similar?top=2", files=[("i", photo.read_bytes()), ("i", b"no image")])
        assert answer.status_code == 200
        content = answer.json()
        assert content["model"] == "tiny"
        first, second = content["images"]
        assert Path(first["similar"][0]["path"]).name == "chelsea.jpg"
        assert first["similar"][0]["similarity"] == pytest.approx(1, abs=1e-3)
        assert len(first["similar"]) == 2
        assert "not an image" in second["error"]
        refused = server.post("/similar?model=other", data=photo.read_bytes())
        assert refused.status_code == 400
        assert "with the model 'tiny'" in refused.json()["error"]


def test_features_of_another_model(features: Path) -> None:
    with pytest.raises(InputError, match="was not computed by other as served here"):
        open_gallery(str(features), {"other": fake_module()})


def test_the_page_shows_classes_and_similar_images(features: Path, module: Module) -> None:
    models = {"tiny": module}
    service = Service(models, gallery=open_gallery(str(features), models))
    with live(service) as server, browser_page() as page:
        page.set_viewport_size({"width": 390, "height": 800})
        page.emulate_media(color_scheme="dark")
        page.goto(f"http://localhost:{server.port}/")
        page.set_input_files("#file", PHOTOS / "chelsea.jpg")
        wait_until(page, "!document.querySelector('#similar').hidden")
        assert "chelsea.jpg" in page.inner_text("#similar")
        assert page.locator("#classes tr").count() == 5
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
        wait_until(page, "document.querySelector('#state').textContent.includes('not an image')")


def test_the_page_asks_for_the_key(module: Module) -> None:
    with live(Service({"tiny": module}, keys=ApiKeys(["secret"]))) as server, browser_page() as page:
        page.goto(f"http://localhost:{server.port}/")
        page.set_input_files("#file", PHOTOS / "chelsea.jpg")
        wait_until(page, "document.querySelector('#state').textContent.includes('enter it above')")
        page.fill("#key", "secret")
        page.locator("#key").blur()  # the same image is asked for again
        wait_until(page, "document.querySelectorAll('#classes tr').length == 5")
        assert page.inner_text("#state") == ""
