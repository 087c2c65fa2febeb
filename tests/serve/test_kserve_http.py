"""The Open Inference Protocol over HTTP, with tritonclient."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from pnasnet import Module
from pnasnet.images import preprocess

from tests.helpers.serving import Live, encoded

NAME = "pnasnet_tiny"
INFER = f"/v2/models/{NAME}/infer"


@pytest.fixture
def client(server: Live) -> Any:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def strings(images: list[bytes], *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("image_bytes", [len(images)], "BYTES")
    given.set_data_from_numpy(np.array(images, np.object_), binary_data=binary)
    return given


def pixels(module: Module, images: list[bytes]) -> np.ndarray[Any, Any]:
    return np.stack([preprocess(image, module.image_size, module.preset) for image in images])


class TestInfer:
    def test_encoded_images(self, client: Any, module: Module) -> None:
        images = [encoded(seed, kind="JPEG") for seed in range(3)]
        found = client.infer(NAME, [strings(images)], outputs=[triton.InferRequestedOutput("global_pool")])
        assert (found.as_numpy("global_pool") == module.embed(images)).all()

    @pytest.mark.parametrize("binary", [True, False])
    def test_pixels(self, client: Any, module: Module, binary: bool) -> None:
        images = [encoded(seed) for seed in range(2)]
        given = triton.InferInput("images", [2, *module.image_size, 3], "FP32")
        given.set_data_from_numpy(pixels(module, images), binary_data=binary)
        wanted = triton.InferRequestedOutput("global_pool", binary_data=binary)
        found = client.infer(NAME, [given], model_version="1", outputs=[wanted], request_id="seven")
        assert (found.as_numpy("global_pool") == module.embed(images)).all()
        assert found.get_response()["id"] == "seven"

    def test_all_outputs(self, client: Any, module: Module) -> None:
        images = [encoded()]
        found = client.infer(NAME, [strings(images)])
        assert (found.as_numpy("global_pool") == module.embed(images)).all()
        inputs = pixels(module, images)
        assert (found.as_numpy("Logits") == module(inputs, signature="image_classification")).all()
        assert (found.as_numpy("Predictions") == module.run(inputs, ("Predictions",))["Predictions"]).all()

    @pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
    def test_compressed(self, client: Any, module: Module, algorithm: str) -> None:
        found = client.infer(NAME, [strings([encoded()])], request_compression_algorithm=algorithm)
        assert (found.as_numpy("global_pool") == module.embed([encoded()])).all()

    def test_json_has_images_in_base64(self, server: Live, module: Module) -> None:
        data = [base64.b64encode(encoded()).decode()]
        inputs = [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": data}]
        answer = server.post(INFER, json={"inputs": inputs, "outputs": [{"name": "global_pool"}]})
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [1, 960]
        assert (np.array(output["data"], np.float32) == module.embed([encoded()])[0]).all()


class TestDescriptions:
    def test_the_server(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]

    def test_the_model(self, client: Any) -> None:
        assert client.is_model_ready(NAME)
        assert client.is_model_ready(NAME, "1")
        assert not client.is_model_ready(NAME, "2")
        assert not client.is_model_ready("other")
        assert client.get_model_metadata(NAME) == {
            "name": NAME,
            "versions": ["1"],
            "platform": "pnasnet",
            "inputs": [
                {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]},
                {"name": "images", "datatype": "FP32", "shape": [-1, 32, 32, 3]},
            ],
            "outputs": [
                {"name": "global_pool", "datatype": "FP32", "shape": [-1, 960]},
                {"name": "Logits", "datatype": "FP32", "shape": [-1, 10]},
                {"name": "Predictions", "datatype": "FP32", "shape": [-1, 10]},
            ],
        }


class TestErrors:
    def test_an_image_that_cannot_be_decoded_is_named(self, client: Any) -> None:
        with pytest.raises(InferenceServerException, match="image 2 of 2: not an image of a known format"):
            client.infer(NAME, [strings([encoded(), b"no image"])])

    def test_unknown_names(self, client: Any) -> None:
        with pytest.raises(InferenceServerException, match="no model 'other' is served: the only one is pnasnet_tiny"):
            client.infer("other", [strings([encoded()])])
        with pytest.raises(InferenceServerException, match="choose one of: global_pool, Logits, Predictions"):
            client.infer(NAME, [strings([encoded()])], outputs=[triton.InferRequestedOutput("Cell_3")])

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"name": "other"}, "send either image_bytes"),
            ({"datatype": "UINT8"}, "must have the datatype FP32"),
            ({"shape": [2, 32, 32, 3]}, "has 12,288 bytes, but its shape needs 24,576"),
            ({"shape": [-1, -32, 32, 3]}, "has a negative number"),
            ({"shape": [True, 32, 32, 3]}, "must be a whole number"),
            ({"shape": [32, 32, 3]}, "add a batch dimension"),
            ({"data": ["a"]}, "must be nested lists of numbers"),
            ({"data": [[1], [1, 2]]}, "nested lists of equal lengths"),
            ({"data": [2.0] * 3072}, "images have values from 2 to 2"),
            ({"data": [float("nan")] * 3072}, "NaN is not a number in JSON"),
            ({"parameters": {"binary_data_size": 10}}, "more than the bytes that follow"),
            ({"parameters": {"binary_data_size": -10}}, "more than the bytes that follow"),
            ({"parameters": []}, "parameters must be an object"),
        ],
    )
    def test_wrong_tensors(self, server: Live, change: dict[str, Any], error: str) -> None:
        tensor = {"name": "images", "datatype": "FP32", "shape": [1, 32, 32, 3], "data": [0.5] * 3072, **change}
        answer = server.post(INFER, data=json.dumps({"inputs": [tensor]}))
        assert answer.status_code == 400
        assert error in answer.json()["error"]

    @pytest.mark.parametrize(
        ("body", "length", "error"),
        [
            (b"[]", None, "the body must be an object"),
            (b"{", None, "not JSON"),
            (b"[" * 100_000, None, "nested too deeply"),
            (b"{}", "9", "must be the number of bytes"),
            (b"{}", "-1", "must be the number of bytes"),
            (b'{"inputs": []}xyz', "14", "3 bytes follow the tensors"),
            (b'{"inputs": []}', None, "the request has 0 inputs"),
            (b'{"inputs": {}}', None, "inputs must be a list"),
        ],
    )
    def test_wrong_bodies(self, server: Live, body: bytes, length: str | None, error: str) -> None:
        headers = {"Inference-Header-Content-Length": length} if length else {}
        answer = server.post(INFER, data=body, headers=headers)
        assert answer.status_code == 400
        assert error in answer.json()["error"]
