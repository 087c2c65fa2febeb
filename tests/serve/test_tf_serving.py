"""TensorFlow Serving's REST API, as its users call it: with requests."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import requests

from pnasnet import Module
from pnasnet.images import preprocess

from tests.helpers.serving import Live, encoded

MODEL = "/v1/models/pnasnet_tiny"


def b64(image: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(image).decode()}


def pixels(module: Module, image: bytes) -> Any:
    return preprocess(image, module.image_size, module.preset).tolist()


def floats(numbers: Any) -> Any:
    return np.array(numbers, np.float32)


@pytest.mark.parametrize("path", [f"{MODEL}:predict", f"{MODEL}/versions/1:predict"])
@pytest.mark.parametrize("form", ["b64", "named", "pixels"])
def test_predict_instances(server: Live, module: Module, path: str, form: str) -> None:
    images = [encoded(seed) for seed in range(2)]
    forms: dict[str, list[Any]] = {
        "b64": [b64(image) for image in images],
        "named": [{"images": b64(image)} for image in images],
        "pixels": [pixels(module, image) for image in images],
    }
    answer = server.post(path, json={"instances": forms[form]})
    assert (floats(answer.json()["predictions"]) == module.embed(images)).all()


@pytest.mark.parametrize("named", [True, False])
def test_predict_inputs(server: Live, module: Module, named: bool) -> None:
    images = [pixels(module, encoded()), b64(encoded(1))]
    request = {"signature_name": "image_classification", "inputs": {"images": images} if named else images}
    answer = server.post(f"{MODEL}:predict", json=request)
    inputs = np.stack([preprocess(encoded(i), module.image_size, module.preset) for i in range(2)])
    assert (floats(answer.json()["outputs"]) == module(inputs, signature="image_classification")).all()


def test_classify(server: Live, module: Module) -> None:
    answer = server.post(f"{MODEL}:classify", json={"examples": [{"image": b64(encoded())}]})
    (classes,) = answer.json()["result"]
    assert sorted(map(tuple, classes), key=lambda pair: -pair[1]) == module.classify(encoded(), top=10)[0]
    assert [name for name, _ in classes] == list(module.labels or ())


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/1"])
def test_status(server: Live, path: str) -> None:
    found = requests.get(server.url + path, timeout=30).json()
    good = {"error_code": "OK", "error_message": ""}
    assert found["model_version_status"] == [{"version": "1", "state": "AVAILABLE", "status": good}]
    assert found["object"] == "model"


def test_metadata(server: Live, module: Module) -> None:
    found = requests.get(f"{server.url}{MODEL}/metadata", timeout=30).json()
    assert found["model_spec"] == {"name": "pnasnet_tiny", "signature_name": "", "version": "1"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert list(signatures) == ["serving_default", *module.get_signature_names()]
    for name in module.get_signature_names():
        for side, stated in (
            ("inputs", module.get_input_info_dict(name)["images"]),
            ("outputs", module.get_output_info_dict(name)["default"]),
        ):
            (tensor,) = signatures[name][side].values()
            sizes = [int(dimension["size"]) for dimension in tensor["tensor_shape"]["dim"]]
            assert sizes == [n or -1 for n in stated.shape]


@pytest.mark.parametrize(
    ("path", "request_", "status", "error"),
    [
        (":predict", {}, 400, "either instances or inputs"),
        (":predict", {"instances": [], "inputs": []}, 400, "either instances or inputs"),
        (":predict", {"instances": []}, 400, "has no images"),
        (":predict", {"instances": ["/etc/passwd"]}, 400, "must be nested lists of numbers"),
        (":predict", {"instances": [{"b64": "/etc/passwd"}]}, 400, "image 1 of 1: not an image"),
        (":predict", {"instances": [{"b64": "!"}]}, 400, "b64 is not base64"),
        (":predict", {"instances": [{"b64": "", "path": ""}]}, 400, "or a list of pixels"),
        (":predict", {"instances": [{"other": 1}]}, 400, "the only input is called images"),
        (":predict", {"instances": [[[[1, 2, 3]]]]}, 400, "images are [1, 1, 1, 3] float32; expected"),
        (":predict", {"instances": [1e999]}, 400, "Infinity is not a number in JSON"),
        (":predict", {"instances": [b64(encoded())] * 65}, 413, "at most 64"),
        (":predict", {"instances": [b64(encoded())], "signature_name": "x"}, 400, "choose one of: serving_default"),
        (":classify", {"examples": [{}]}, 400, "an example has one feature"),
        (":classify", {"examples": {}}, 400, "examples must be a list"),
        ("/versions/2:predict", {"instances": []}, 404, "the only one is 1"),
        (":regress", {}, 405, "Method Not Allowed"),
    ],
)
def test_wrong_requests(server: Live, path: str, request_: dict[str, Any], status: int, error: str) -> None:
    answer = server.post(MODEL + path, data=json.dumps(request_))
    assert answer.status_code == status
    assert error in answer.json()["error"]


@pytest.mark.parametrize("method", [":predict", "/versions/1:classify"])
def test_methods_are_posted(server: Live, method: str) -> None:
    answer = requests.get(server.url + MODEL + method, timeout=30)
    assert answer.status_code == 405
    assert answer.json()["error"].startswith("Method Not Allowed")
