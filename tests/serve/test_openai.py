"""OpenAI's embeddings, with its client."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from pnasnet import Module
from pnasnet.serve import ServerLimits, Service
from pnasnet.serve.auth import ApiKeys

from tests.helpers.serving import Live, encoded, fake_models, live

NAME = "pnasnet_tiny"


@pytest.fixture
def client(server: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def vectors(answer: Any) -> Any:
    return np.array([each.embedding for each in answer.data], np.float32)


def test_data_uris(client: openai.OpenAI, module: Module) -> None:
    images = [encoded(seed) for seed in range(2)]
    answer = client.embeddings.create(model=NAME, input=[uri(image) for image in images])
    assert (vectors(answer) == module.embed(images)).all()
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == (NAME, 2, 2)
    answer = client.embeddings.create(model=NAME, input=uri(images[0]), encoding_format="float", dimensions=960)
    assert (vectors(answer) == module.embed(images[0])).all()


def test_image_urls_and_messages(client: openai.OpenAI, server: Live, module: Module) -> None:
    images = [encoded(seed) for seed in range(2)]
    parts: Any = [{"type": "image_url", "image_url": {"url": uri(image)}} for image in images]
    for given in (parts, parts[0]):
        answer = client.embeddings.create(model=NAME, input=given)
        assert (vectors(answer) == module.embed(images[: len(answer.data)])).all()
    request = {"model": NAME, "messages": [{"role": "user", "content": parts}], "encoding_format": "float"}
    found = server.post("/v1/embeddings", json=request).json()
    assert (np.array([each["embedding"] for each in found["data"]], np.float32) == module.embed(images)).all()


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "pnasnet"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_the_key_is_the_clients() -> None:
    with live(Service(fake_models(), keys=ApiKeys(["secret"]))) as server:
        for key in ("secret", "other"):
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
                if key == "secret":
                    assert len(client.embeddings.create(model="tiny", input=uri(encoded())).data) == 1
                else:
                    with pytest.raises(openai.AuthenticationError, match="API key is missing or wrong"):
                        client.embeddings.create(model="tiny", input=uri(encoded()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"input": "a photo of a cat"}, "text cannot be embedded"),
        ({"input": "/etc/passwd"}, "must be a data URI"),
        ({"input": "file:///etc/passwd"}, "must be a data URI"),
        ({"input": "http://127.0.0.1/"}, "images at URLs are not fetched"),
        ({"input": [1, 2, 3]}, "must be a data URI"),
        ({"input": {"type": "image_url", "image_url": {"url": 3}}}, "must be a string"),
        ({"input": "data:image/png;base64,!"}, "is not base64"),
        ({"input": "data:image/png"}, "has a comma before its data"),
        ({"input": []}, "has no images"),
        ({"input": [uri(encoded())] * 65}, "send at most 64"),
        ({"input": None}, "either input or messages"),
        ({"messages": []}, "either input or messages"),
        ({"encoding_format": "int8"}, "must be float or base64"),
        ({"dimensions": 3}, "dimensions must be 960"),
        ({"model": "other"}, "the only one is pnasnet_tiny"),
        ({"model": 3}, "model must be a string"),
    ],
)
def test_wrong_requests(server: Live, change: dict[str, Any], error: str) -> None:
    request = {"model": NAME, "input": uri(encoded()), **change}
    answer = server.post("/v1/embeddings", data=json.dumps(request))
    assert 400 <= answer.status_code < 500
    assert error in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("call", "status", "kind", "message"),
    [
        (lambda client: client.models.retrieve("other"), 404, "not_found_error", "no model 'other' is served"),
        (
            lambda client: client.chat.completions.create(model="tiny", messages=[]),
            404, "not_found_error", "Not Found: see /openapi.json",
        ),
        (lambda client: client.get("/embeddings", cast_to=object), 405, "invalid_request_error", "Method Not Allowed"),
        (lambda client: client.models.delete("tiny"), 405, "invalid_request_error", "Method Not Allowed"),
        (lambda client: embed(client, 1), 429, "rate_limit_error", "1 more do not fit: try again"),
        (lambda client: embed(client, 3), 413, "invalid_request_error", "send at most 2 at a time"),
        (lambda client: embed(client, 400), 413, "invalid_request_error", "send fewer or smaller images"),
        (lambda client: embed(client, encoding="br"), 415, "invalid_request_error", "is not supported: send gzip"),
        (lambda client: client.with_options(api_key="x").models.list(), 401, "authentication_error", "the API key"),
        (
            lambda client: client.with_options(api_key="x").moderations.create(input=""),
            401, "authentication_error", "the API key",
        ),
    ],
)  # fmt: skip
def test_the_client_shows_every_error(call: Any, status: int, kind: str, message: str) -> None:
    service = Service(fake_models(), ServerLimits(body=100_000, images=2, queue=8), keys=ApiKeys(["secret"]))
    service.models["tiny"].batcher.accepted = 8 if status == 429 else 0  # a full queue
    with (
        live(service) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as raised,
    ):
        call(client)
    error = raised.value
    assert (error.status_code, error.type) == (status, kind)
    assert isinstance(error.body, dict)
    assert message in error.body["message"]
    assert message in str(error)


def embed(client: openai.OpenAI, count: int = 1, *, encoding: str = "identity") -> Any:
    images = [uri(encoded(size=(9, 9)))] * count
    return client.embeddings.create(model="tiny", input=images, extra_headers={"Content-Encoding": encoding})
