"""The server's own protocol, for curl and browsers: POST images to get features, classes or similar images."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import ImageError
from .batcher import Floats
from .bodies import Upload, read_images
from .errors import ServeError
from .models import FEATURES, PROBABILITIES, Outcome, Served
from .responses import client_of, json_response
from .service import Service

JSON, FLOATS, NPY = "application/json", "application/octet-stream", "application/x-npy"
"""Media types of a response, chosen by the Accept header."""
_MAX_TOP = 1000

Describe = Callable[[Floats], dict[str, Any]]


def routes(service: Service) -> list[Route]:
    """Return the routes of the native protocol."""

    async def embed(request: Request) -> Response:
        kind = _media_type(request, JSON, FLOATS, NPY)
        served, images, rows = await _compute(service, request, FEATURES)
        if kind != JSON:
            return _array(kind, rows)
        return _listed(served, images, [_described(row, lambda row: {"embedding": row.tolist()}) for row in rows])

    async def classify(request: Request) -> Response:
        kind, top = _media_type(request, JSON, FLOATS, NPY), _top(request, 5)
        served, images, rows = await _compute(service, request, PROBABILITIES)
        if kind != JSON:
            return _array(kind, rows)
        return _listed(served, images, [_described(row, lambda row: _classes(served, row, top)) for row in rows])

    async def similar(request: Request) -> Response:
        _media_type(request, JSON)
        gallery, top = service.gallery, _top(request, 10)
        if gallery is None:
            raise ServeError("this server has no images to compare with: start it with --features", 404)
        if request.query_params.get("model", gallery.model) != gallery.model:
            raise ServeError(f"similar images can only be found with the model {gallery.model!r}: choose that one")
        images = await read_images(request, service.limits.images)
        served = service.model(gallery.model)
        rows = await served.compute([image.data for image in images], FEATURES, client_of(request))
        found = iter(await gallery.search([row for row in rows if isinstance(row, np.ndarray)], top))
        return _listed(served, images, [_described(row, lambda row: {"similar": next(found)}) for row in rows])

    return [
        Route("/embed", embed, methods=["POST"]),
        Route("/classify", classify, methods=["POST"]),
        Route("/similar", similar, methods=["POST"]),
    ]


async def _compute(service: Service, request: Request, endpoint: str) -> tuple[Served, list[Upload], list[Outcome]]:
    served = service.model(request.query_params.get("model"))
    if endpoint not in served.outputs:
        raise ServeError(f"{served.name} has no classifier: ask for /embed")
    images = await read_images(request, service.limits.images)
    return served, images, await served.compute([image.data for image in images], endpoint, client_of(request))


def _media_type(request: Request, *kinds: str) -> str:
    return accepted(", ".join(request.headers.getlist("accept")), *kinds)


def accepted(header: str, *kinds: str) -> str:
    """Return the one of `kinds` that an Accept header prefers; the first if it accepts any media type.

    Raises `ServeError` (406) if it accepts none of them.
    """
    wanted = list[tuple[float, str]]()
    for part in header.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
        try:
            wanted.append((float(weights[0]) if weights else 1.0, kind))
        except ValueError:
            wanted.append((0.0, kind))
    for weight, kind in sorted(wanted, key=lambda pair: -pair[0]):
        if weight > 0 and kind in ("", "*/*", "application/*"):
            return kinds[0]
        if weight > 0 and kind in kinds:
            return kind
    raise ServeError(f"the header Accept allows none of the available formats: send {' or '.join(kinds)}", 406)


def _top(request: Request, default: int) -> int:
    text = request.query_params.get("top", str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= _MAX_TOP):
        raise ServeError(f"top must be a number from 1 to {_MAX_TOP:,}")
    return int(text)


def _described(row: Outcome, describe: Describe) -> dict[str, Any]:
    return {"error": str(row)} if isinstance(row, ImageError) else describe(row)


def _classes(served: Served, row: Floats, top: int) -> dict[str, Any]:
    labels, best = served.labels, np.argsort(-row, kind="stable")[:top].tolist()
    return {"classes": [{"name": labels[i], "probability": float(row[i])} for i in best]}


def _listed(served: Served, images: Sequence[Upload], results: Sequence[dict[str, Any]]) -> Response:
    """Return a JSON response with the result of each image; its status is 400 if no image could be decoded."""
    listed = [{"name": image.name, **result} for image, result in zip(images, results, strict=True)]
    content: dict[str, Any] = {"model": served.name, "images": listed}
    if all("error" in result for result in results):
        content["error"] = results[0]["error"]
        return json_response(content, 400)
    return json_response(content)


def _array(kind: str, rows: Sequence[Outcome]) -> Response:
    """Return a response with little-endian float32 [number of images, length], raw or as .npy. Raises `ImageError`."""
    for number, row in enumerate(rows, 1):
        if isinstance(row, ImageError):
            raise ImageError(f"image {number} of {len(rows)}: {row}")
    array = np.stack([row for row in rows if isinstance(row, np.ndarray)]).astype("<f4", copy=False)
    headers = {"X-Shape": ",".join(map(str, array.shape))}
    if kind == FLOATS:
        return Response(array.tobytes(), 200, headers, FLOATS)
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return Response(file.getvalue(), 200, headers, NPY)
