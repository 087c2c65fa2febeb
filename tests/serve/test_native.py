"""The server's own protocol, with curl and requests."""

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.serve.native import accepted

from tests.helpers.serving import Live, encoded


def floats(numbers: list[float]) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


class TestEmbed:
    def test_a_form_with_several_images(self, server: Live, module: Module) -> None:
        images = [encoded(seed) for seed in range(3)]
        answer = server.post("/embed", files=[("image", (f"{n}.png", image)) for n, image in enumerate(images)])
        assert answer.status_code == 200
        content = answer.json()
        assert content["model"] == "pnasnet_tiny"
        assert [image["name"] for image in content["images"]] == ["0.png", "1.png", "2.png"]
        found = np.stack([floats(image["embedding"]) for image in content["images"]])
        assert (found == module.embed(images)).all()

    def test_curl_sends_a_form_or_the_image_itself(self, server: Live, module: Module, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(encoded(1, kind="JPEG"))
        for arguments in (["-F", "image=@a.jpg"], ["--data-binary", "@a.jpg"]):
            command = ["curl", "-sS", "--fail", *arguments, f"{server.url}/embed"]
            out = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=30).stdout
            (image,) = _json(out)["images"]
            assert (floats(image["embedding"]) == module.embed(tmp_path / "a.jpg")[0]).all()

    @pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-npy"])
    def test_as_float32(self, server: Live, module: Module, kind: str) -> None:
        images = [encoded(seed) for seed in range(2)]
        answer = server.post("/embed", files=[("i", ("", i)) for i in images], headers={"Accept": kind})
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["X-Shape"] == "2,960"
        if kind == "application/x-npy":
            found = np.load(io.BytesIO(answer.content))
        else:
            found = np.frombuffer(answer.content, "<f4").reshape(2, 960)
        assert (found == module.embed(images)).all()

    def test_an_image_that_cannot_be_decoded_fails_alone(self, server: Live, module: Module) -> None:
        files = [("i", ("good.png", encoded())), ("i", ("bad\x1b[31m.png", encoded()[:200]))]
        answer = server.post("/embed", files=files)
        assert answer.status_code == 200
        good, bad = answer.json()["images"]
        assert (floats(good["embedding"]) == module.embed(encoded())[0]).all()
        assert bad.keys() == {"name", "error"}
        assert bad["error"].startswith("damaged, cut short")
        assert "\x1b" not in bad["name"]
        answer = server.post("/embed", files=files, headers={"Accept": "application/octet-stream"})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("image 2 of 2: damaged")


def test_classify(server: Live, module: Module) -> None:
    answer = server.post("/classify?top=3&model=pnasnet_tiny", data=encoded())
    (image,) = answer.json()["images"]
    ours = [(each["name"], each["probability"]) for each in image["classes"]]
    assert ours == module.classify(encoded(), top=3)[0]
    answer = server.post("/classify", data=encoded(), headers={"Accept": "application/octet-stream"})
    assert np.frombuffer(answer.content, "<f4").argmax() == module.labels.index(ours[0][0])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "arguments", "status", "error"),
    [
        ("/embed", {"data": b"no image"}, 400, "not an image of a known format"),
        ("/embed", {"data": b"/etc/passwd"}, 400, "not an image of a known format"),
        ("/embed", {}, 400, "the body is empty"),
        ("/embed", {"files": [("i", ("a", b"x"))] * 65}, 413, "more than 64 images"),
        ("/embed", {"json": {"image": "/etc/passwd"}}, 415, "accepts images, not JSON"),
        ("/embed", {"files": {"i": ("a", b"x")}, "data": {"path": "/etc/passwd"}}, 400, "a field that is not a file"),
        ("/embed", {"data": b"--", "headers": {"Content-Type": "multipart/form-data"}}, 400, "Missing boundary"),
        ("/embed?model=..%2F%1b", {"data": b"x"}, 404, "the only one is pnasnet_tiny"),
        ("/embed", {"data": b"x", "headers": {"Accept": "text/html"}}, 406, "send application/json or"),
        ("/classify?top=0", {"data": b"x"}, 400, "top must be a number"),
        ("/classify?top=%C2%B2", {"data": b"x"}, 400, "top must be a number"),
        ("/similar", {"data": b"x"}, 404, "start it with --features"),
        ("/nothing", {"data": b"x"}, 404, "Not Found"),
    ],
)
def test_wrong_requests(server: Live, path: str, arguments: dict[str, Any], status: int, error: str) -> None:
    answer = server.post(path, **arguments)
    assert answer.status_code == status
    assert error in answer.json()["error"]
    assert answer.json()["error"].isprintable()


def test_the_media_type_of_an_answer() -> None:
    assert accepted("", "a/json", "a/npy") == "a/json"
    assert accepted("text/html,*/*;q=0.1", "a/json", "a/npy") == "a/json"
    assert accepted("a/json;q=0.5, a/npy", "a/json", "a/npy") == "a/npy"
    assert accepted("a/npy;q=x, a/json;q=0.2", "a/json", "a/npy") == "a/json"


def _json(text: bytes) -> Any:
    import json

    return json.loads(text)
