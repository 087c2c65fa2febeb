"""JSON Schemas of requests and responses, which the OpenAPI description refers to by name."""

from typing import Any

Schema = dict[str, Any]

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNoaGgAAAMEAYFL09IQAAAAAElFTkSuQmCC"
"""A PNG of one grey pixel in base64, for the examples."""

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_WHOLE: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}
_ANY: Schema = {"type": "object"}


def refer(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    return {"type": "object", "required": list(required), "properties": required | (optional or {}), **more}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _constant(value: Any) -> Schema:
    return {"const": value}


def _per_image(**result: Schema) -> Schema:
    """Return the schema of a native response: for each image its result, or the error of decoding it."""
    results = [_object({"name": _TEXT, **result}), _object({"name": _TEXT, "error": _TEXT})]
    return _object({"model": _TEXT, "images": _list({"anyOf": results}, minItems=1)}, {"error": _TEXT})


_TENSOR = _object({"name": _TEXT, "datatype": _TEXT, "shape": _list(_WHOLE)})
_BINARY = _object({}, {"binary_data_size": _WHOLE})
_INPUT_KINDS = [
    _object({"name": _constant(name), "datatype": _constant(datatype), "shape": _list(_WHOLE)},
            {"data": _list(items), "parameters": _BINARY})
    for name, datatype, items in (("image_bytes", "BYTES", _TEXT), ("images", "FP32", {}))
]  # fmt: skip
_OUTPUT = _object(
    {"name": _TEXT, "datatype": _constant("FP32"), "shape": _list(_WHOLE)},
    {"data": _list(_NUMBER), "parameters": _BINARY},
)
_URL = {"anyOf": [_TEXT, _object({"url": _TEXT})]}
_REFERENCE = {"anyOf": [_TEXT, _object({"type": _constant("image_url"), "image_url": _URL})]}
_PARTS = _object({"content": _list(_REFERENCE, minItems=1)})
_ENCODED = _object({"b64": _TEXT}, additionalProperties=False)
_IMAGE = {"anyOf": [_ENCODED, _list(_list(_list(_NUMBER)))]}
_INSTANCE = {"anyOf": [_IMAGE, _object({"images": _IMAGE}, additionalProperties=False)]}
_INPUTS = {"anyOf": [_list(_IMAGE, minItems=1), _object({"images": _list(_IMAGE, minItems=1)})]}
_EXAMPLE = {"type": "object", "additionalProperties": _IMAGE, "minProperties": 1, "maxProperties": 1}
_VERSION_STATE = _object(
    {"version": _TEXT, "state": _TEXT, "status": _object({"error_code": _TEXT, "error_message": _TEXT})}
)
_OPENAI_MODEL = {"id": _TEXT, "object": _constant("model"), "created": _WHOLE, "owned_by": _TEXT}
_USAGE = _object({"prompt_tokens": _WHOLE, "total_tokens": _WHOLE})
_NULL: Schema = {"type": "null"}
_EITHER_INPUT = [
    {"required": [given], "properties": {given: {"not": _NULL}, other: _NULL}}
    for given, other in (("input", "messages"), ("messages", "input"))
]
_EITHER_INSTANCES = [{"required": ["instances"]}, {"required": ["inputs"]}]

SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": _TEXT}),
    "OpenAIError": _object(
        {"error": _object({"message": _TEXT, "type": _TEXT}, {"param": {}, "code": {}})},
    ),
    "Embeddings": _per_image(embedding=_list(_NUMBER)),
    "Classes": _per_image(classes=_list(_object({"name": _TEXT, "probability": _NUMBER}))),
    "SimilarImages": _per_image(similar=_list(_object({"path": _TEXT, "similarity": _NUMBER}))),
    "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "Live": _object({"live": _FLAG}),
    "Ready": _object({"ready": _FLAG}),
    "ModelMetadata": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_TENSOR),
            "outputs": _list(_TENSOR),
        }
    ),
    "InferRequest": _object(
        {"inputs": _list({"anyOf": _INPUT_KINDS}, minItems=1, maxItems=1)},
        {
            "id": _TEXT,
            "parameters": _object({}, {"binary_data_output": _FLAG}),
            "outputs": _list(_object({"name": _TEXT}, {"parameters": _object({}, {"binary_data": _FLAG})})),
        },
        example={"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [_PIXEL]}]},
    ),
    "InferResponse": _object(
        {"model_name": _TEXT, "model_version": _TEXT, "outputs": _list(_OUTPUT, minItems=1)}, {"id": _TEXT}
    ),
    "EmbeddingsRequest": _object(
        {"model": _TEXT},
        {
            "input": {"anyOf": [_NULL, _REFERENCE, _list(_REFERENCE, minItems=1)]},
            "messages": {"anyOf": [_NULL, _list(_PARTS, minItems=1)]},
            "encoding_format": {"enum": ["float", "base64", None]},
            "dimensions": {"type": ["integer", "null"]},
        },
        oneOf=_EITHER_INPUT,
        example={"model": "", "input": f"data:image/png;base64,{_PIXEL}"},
    ),
    "OpenAIEmbeddings": _object(
        {
            "object": _constant("list"),
            "model": _TEXT,
            "usage": _USAGE,
            "data": _list(
                _object(
                    {
                        "object": _constant("embedding"),
                        "index": _WHOLE,
                        "embedding": {"anyOf": [_list(_NUMBER), _TEXT]},
                    }
                )
            ),
        }
    ),
    "OpenAIModels": _object({"object": _constant("list"), "data": _list(_object(_OPENAI_MODEL))}),
    "Model": _object({**_OPENAI_MODEL, "model_version_status": _list(_VERSION_STATE)}),
    "Signatures": _object(
        {
            "model_spec": _object({"name": _TEXT, "signature_name": _TEXT, "version": _TEXT}),
            "metadata": _object({"signature_def": _object({"signature_def": _ANY})}),
        }
    ),
    "PredictRequest": _object(
        {},
        {
            "instances": _list(_INSTANCE, minItems=1),
            "inputs": _INPUTS,
            "signature_name": {"type": ["string", "null"]},
        },
        oneOf=_EITHER_INSTANCES,
        example={"instances": [{"b64": _PIXEL}]},
    ),
    "Predictions": {"anyOf": [_object({name: _list(_list(_NUMBER))}) for name in ("predictions", "outputs")]},
    "ClassifyRequest": _object(
        {"examples": _list(_EXAMPLE, minItems=1)}, example={"examples": [{"image": {"b64": _PIXEL}}]}
    ),
    "TFClasses": _object({"result": _list(_list(_list({"type": ["string", "number"]}, minItems=2, maxItems=2)))}),
    "Health": _object({"status": {"enum": ["ready", "draining"]}, "models": _list(_TEXT), "version": _TEXT}),
}
