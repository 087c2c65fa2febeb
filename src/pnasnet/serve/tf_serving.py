"""TensorFlow Serving's REST API: status, metadata, predict and classify."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import choose_one_of
from ..module.signatures import check_images
from .errors import ServeError
from .models import PROBABILITIES, VERSION, Image, Served
from .openai import describe
from .responses import body_of, client_of, json_response
from .service import Service
from .values import from_base64, parse_json, to_floats, typed

_SERVING_DEFAULT = "serving_default"
"""TensorFlow Serving's name of a module's signature `default`."""
_INPUT, _OUTPUT = "images", "default"


def routes(service: Service) -> list[Route]:
    """Return the routes below /v1/models/M."""

    async def status(request: Request) -> Response:
        if any(str(part).endswith((":predict", ":classify")) for part in request.path_params.values()):  # POST only
            raise HTTPException(405, headers={"Allow": "POST"})
        served = _served(service, request)
        good = {"error_code": "OK", "error_message": ""}
        state = {"version": VERSION, "state": "AVAILABLE", "status": good}
        return json_response({**describe(served.name), "model_version_status": [state]})

    async def metadata(request: Request) -> Response:
        served = _served(service, request)
        spec = {"name": served.name, "signature_name": "", "version": VERSION}
        signatures = {name: _signature(served, name) for name in (_SERVING_DEFAULT, *served.signatures)}
        return json_response({"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}})

    async def predict(request: Request) -> Response:
        served = _served(service, request)
        document = parse_json(body_of(request))
        endpoint = _endpoint(served, document)
        key, images = _images(served, document)
        rows = (await served.arrays(images, (endpoint,), client_of(request)))[endpoint]
        return json_response({key: rows.tolist()})

    async def classify(request: Request) -> Response:
        served = _served(service, request)
        document = parse_json(body_of(request))
        if PROBABILITIES not in served.outputs:
            raise ServeError(f"{served.name} has no classifier: use predict")
        examples = [typed(each, dict, "an example") for each in typed(document.get("examples"), list, "examples")]
        if any(len(example) != 1 for example in examples):
            raise ServeError('an example has one feature, such as {"image": {"b64": ...}}')
        images = [_image(served, value) for example in examples for value in example.values()]
        rows = (await served.arrays(images, (PROBABILITIES,), client_of(request)))[PROBABILITIES]
        return json_response({"result": [list(zip(served.labels, row.tolist(), strict=True)) for row in rows]})

    prefixes = ("/v1/models/{name}", "/v1/models/{name}/versions/{version}")
    methods = [
        Route(f"{prefix}:{name}", call, methods=["POST"])
        for prefix in prefixes
        for name, call in (("predict", predict), ("classify", classify))
    ]
    others = [
        Route(f"{prefix}{rest}", call) for prefix in prefixes for rest, call in (("/metadata", metadata), ("", status))
    ]
    return [*methods, *others]


def _served(service: Service, request: Request) -> Served:
    return service.model(request.path_params["name"], request.path_params.get("version"))


def _endpoint(served: Served, document: dict[str, Any]) -> str:
    given = document.get("signature_name")
    name = typed("" if given is None else given, str, "signature_name") or _SERVING_DEFAULT
    known = served.signatures
    endpoint = known.get("default" if name == _SERVING_DEFAULT else name)
    if endpoint is None:
        raise ServeError(f"no signature has this name: {choose_one_of((_SERVING_DEFAULT, *known))}")
    return endpoint


def _signature(served: Served, name: str) -> dict[str, Any]:
    endpoint = served.signatures["default" if name == _SERVING_DEFAULT else name]
    return {
        "inputs": {_INPUT: _tensor(_INPUT, (-1, *served.module.image_size, 3))},
        "outputs": {_OUTPUT: _tensor(_OUTPUT, (-1, *served.outputs[endpoint]))},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    dimensions = [{"size": str(length), "name": ""} for length in shape]
    return {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": dimensions, "unknown_rank": False},
        "name": f"{name}:0",
    }


def _images(served: Served, document: dict[str, Any]) -> tuple[str, list[Image]]:
    """Return the response's key for the rows, and the images of `instances` (one each) or of `inputs` (one list)."""
    if ("instances" in document) == ("inputs" in document):
        raise ServeError("the request needs either instances or inputs")
    if "instances" in document:
        values = [_unnamed(instance) for instance in typed(document["instances"], list, "instances")]
        return "predictions", [_image(served, value) for value in values]
    values = typed(_unnamed(document["inputs"]), list, "inputs")
    return "outputs", [_image(served, value) for value in values]


def _unnamed(given: Any) -> Any:
    """Return an instance, or all inputs, without the name of the input: `{"images": X}` and X mean the same."""
    if isinstance(given, dict) and "b64" not in given:
        if set(given) != {_INPUT}:
            raise ServeError(f"the only input is called {_INPUT}")
        return given[_INPUT]
    return given


def _image(served: Served, given: Any) -> Image:
    """Return an image: encoded, from `{"b64": ...}`, or pixels [height, width, 3] in [0, 1]. Raises `ServeError`."""
    if isinstance(given, dict):
        if set(given) != {"b64"}:
            raise ServeError('an image is {"b64": ...} or a list of pixels')
        return from_base64(given["b64"], "b64")
    pixels: NDArray[np.float32] = to_floats(given, "an image")
    check_images(pixels[None], served.module.image_size)
    return pixels
