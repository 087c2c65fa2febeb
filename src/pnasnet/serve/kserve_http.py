"""The Open Inference Protocol over HTTP, with Triton's binary extension."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .._version import __version__
from . import kserve
from .errors import DrainingError, ServeError
from .kserve import InputTensor
from .models import VERSION, Served
from .responses import body_of, client_of, json_response
from .service import Service
from .values import from_base64, parse_json, to_floats, typed

_HEADER_LENGTH = "Inference-Header-Content-Length"
_MAX_ID = 1000


def routes(service: Service) -> list[Route]:
    """Return the routes below /v2."""

    async def server(request: Request) -> Response:
        return json_response({"name": kserve.SERVER, "version": __version__, "extensions": list(kserve.EXTENSIONS)})

    async def live(request: Request) -> Response:
        return json_response({"live": True})

    async def ready(request: Request) -> Response:
        _served(service, request)
        if service.draining:
            raise DrainingError("the server is shutting down")
        return json_response({"ready": True})

    async def model(request: Request) -> Response:
        served = _served(service, request)
        inputs, outputs = kserve.metadata(served)
        about = {"name": served.name, "versions": [VERSION], "platform": kserve.PLATFORM}
        return json_response({**about, "inputs": inputs, "outputs": outputs})

    async def infer(request: Request) -> Response:
        served = _served(service, request)
        document, binary = _split(body_of(request), request.headers.get(_HEADER_LENGTH))
        images = kserve.images_of(served, _tensors(document, binary))
        in_binary = _requested(document)
        endpoints = kserve.endpoints_of(served, list(in_binary))
        arrays = await served.arrays(images, endpoints, client_of(request))
        default = _flag(document, "binary_data_output")
        return _response(served, document, arrays, [name for name in endpoints if in_binary.get(name, default)])

    versioned = [
        route
        for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
        for route in (
            Route(prefix, model),
            Route(f"{prefix}/ready", ready),
            Route(f"{prefix}/infer", infer, methods=["POST"]),
        )
    ]
    return [Route("/v2", server), Route("/v2/health/live", live), Route("/v2/health/ready", ready), *versioned]


def _served(service: Service, request: Request) -> Served:
    return service.model(request.path_params.get("name"), request.path_params.get("version"))


def _split(body: bytes, length: str | None) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON of a request, and the binary data after it."""
    if length is None:
        return parse_json(body), memoryview(b"")
    if not (length.isascii() and length.isdecimal() and len(length) < 12 and int(length) <= len(body)):
        raise ServeError(f"the header {_HEADER_LENGTH} must be the number of bytes of the JSON before the tensors")
    return parse_json(body[: int(length)]), memoryview(body)[int(length) :]


def _tensors(document: dict[str, Any], binary: memoryview) -> list[InputTensor]:
    tensors, start = list[InputTensor](), 0
    for entry in typed(document.get("inputs"), list, "inputs"):
        given = typed(entry, dict, "an input")
        name = typed(given.get("name"), str, "the name of an input")
        datatype = typed(given.get("datatype"), str, "the datatype of an input")
        shape = tuple(typed(n, int, "a shape's number") for n in typed(given.get("shape"), list, "the shape"))
        size = _parameters(given).get("binary_data_size")
        data: bytes | memoryview | list[bytes]
        if size is None:
            data = _from_json(given.get("data"), datatype)
        else:
            end = start + typed(size, int, "binary_data_size")
            if not start <= end <= len(binary):
                raise ServeError("binary_data_size is more than the bytes that follow the JSON")
            raw, start = binary[start:end], end
            data = kserve.split_strings(raw) if datatype == "BYTES" else raw
        tensors.append(InputTensor(name, datatype, shape, data))
    if start != len(binary):
        raise ServeError(f"{len(binary) - start:,} bytes follow the tensors: state them as binary_data_size")
    return tensors


def _from_json(data: Any, datatype: str) -> bytes | list[bytes]:
    if datatype == "BYTES":
        return [from_base64(text, "an encoded image in JSON") for text in typed(data, list, "data")]
    return to_floats(typed(data, list, "data"), "data").astype("<f4").tobytes()


def _requested(document: dict[str, Any]) -> dict[str, bool]:
    """Return the outputs that a request names, each with whether its data are to be binary."""
    wanted, default = dict[str, bool](), _flag(document, "binary_data_output")
    for entry in typed(document.get("outputs", []), list, "outputs"):
        parameters = _parameters(typed(entry, dict, "an output"))
        if parameters.get("classification"):
            raise ServeError("classification is not supported: ask for Predictions, or use /classify")
        binary = typed(parameters.get("binary_data", default), bool, "binary_data")
        wanted[typed(entry.get("name"), str, "the name of an output")] = binary
    return wanted


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    return typed(given.get("parameters", {}), dict, "parameters")


def _flag(document: dict[str, Any], name: str) -> bool:
    return typed(_parameters(document).get(name, False), bool, name)


def _response(
    served: Served, document: dict[str, Any], arrays: dict[str, NDArray[np.float32]], binary: Sequence[str]
) -> Response:
    """Return the response: JSON, followed by the data of the arrays named in `binary`."""
    outputs, raw = list[dict[str, Any]](), list[bytes]()
    for name, array in arrays.items():
        output: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(array.shape)}
        if name in binary:
            raw.append(array.astype("<f4", copy=False).tobytes())
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = array.ravel().tolist()
        outputs.append(output)
    content: dict[str, Any] = {"model_name": served.name, "model_version": VERSION, "outputs": outputs}
    if "id" in document:
        content["id"] = typed(document["id"], str, "id")[:_MAX_ID]
    if not raw:
        return json_response(content)
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    headers = {_HEADER_LENGTH: str(len(text))}
    return Response(b"".join((text, *raw)), 200, headers, "application/octet-stream")
