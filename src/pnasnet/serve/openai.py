"""OpenAI's embeddings API, for images: data URIs as `input`, or as vLLM's `messages`."""

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .errors import ServeError
from .models import FEATURES
from .responses import body_of, client_of, json_response
from .service import Service
from .values import parse_json, typed

OWNER = "pnasnet"


def routes(service: Service) -> list[Route]:
    """Return the routes. `tf_serving` has that of /v1/models/M, whose response has the fields of both protocols."""

    async def embeddings(request: Request) -> Response:
        document = parse_json(body_of(request))
        served = service.model(typed(document.get("model"), str, "model"))
        encoding = document.get("encoding_format")
        if encoding not in (None, "float", "base64"):
            raise ServeError("encoding_format must be float or base64")
        length = served.outputs[FEATURES][-1]
        if document.get("dimensions") not in (None, length):
            raise ServeError(f"dimensions must be {length}, the length of this model's vectors, or left out")
        images = await service.references.resolve(_references(document))
        rows = (await served.arrays(images, (FEATURES,), client_of(request)))[FEATURES]
        vectors = [
            base64.b64encode(row.astype("<f4", copy=False).tobytes()).decode() if encoding == "base64" else row.tolist()
            for row in rows
        ]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        usage = {"prompt_tokens": len(images), "total_tokens": len(images)}
        return json_response({"object": "list", "data": data, "model": served.name, "usage": usage})

    async def models(request: Request) -> Response:
        return json_response({"object": "list", "data": [describe(name) for name in service.models]})

    return [Route("/v1/embeddings", embeddings, methods=["POST"]), Route("/v1/models", models)]


def describe(name: str) -> dict[str, Any]:
    """Return OpenAI's description of a model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


def _references(document: dict[str, Any]) -> list[str]:
    """Return the URIs of the images in `input` or `messages`."""
    given, messages = document.get("input"), document.get("messages")
    if (given is None) == (messages is None):
        raise ServeError("the request needs either input or messages")
    if messages is not None:
        contents = [typed(message, dict, "a message").get("content") for message in typed(messages, list, "messages")]
        return [_reference(part) for content in contents for part in typed(content, list, "the content of a message")]
    return [_reference(part) for part in (given if isinstance(given, list) else [given])]


def _reference(part: Any) -> str:
    """Return the URI of one input: a string, or `{"type": "image_url", "image_url": {"url": ...}}`."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type") != "image_url":
        raise ServeError('an input must be a data URI or {"type": "image_url", "image_url": {"url": ...}}')
    image = part.get("image_url")
    return typed(image.get("url") if isinstance(image, dict) else image, str, "the url of an image_url")
