"""JSON responses, and errors in the form of each protocol."""

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..errors import PnasnetError
from ..support.text import clean
from .errors import ServeError

BODY = "pnasnet.body"
"""Key of the request's body in its ASGI scope."""
_OPENAI = re.compile(r"/v1(?!/models/[^/]*[:/])(/.*)?", re.DOTALL)
"""OpenAI's paths: everything below /v1 except TensorFlow Serving's methods. Both protocols have /v1/models/M."""
_OPENAI_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_MAX_TEXT = 500
"""Characters of an error message."""


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with compact JSON."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Response(text, status, headers, "application/json")


def error_response(path: str, error: Exception) -> Response:
    """Return the response for an error: its message on one line, with unprintable characters escaped."""
    status, headers = 500, {}
    message = "the server failed: see its log"
    if isinstance(error, HTTPException):
        status, message = error.status_code, f"{error.detail}: see /openapi.json"
        headers = dict(error.headers or {})
    elif isinstance(error, PnasnetError):
        status, message = getattr(error, "status", 400), str(error)
        if isinstance(error, ServeError) and error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    text = clean(message)[:_MAX_TEXT]
    if _OPENAI.fullmatch(path):
        kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return json_response({"error": {"message": text, "type": kind, "param": None, "code": None}}, status, headers)
    return json_response({"error": text}, status, headers)


async def on_error(request: Request, error: Exception) -> Response:
    """Handle an exception raised by a route."""
    return error_response(request.url.path, error)


def body_of(request: Request) -> bytes:
    """Return the request's body, which `Guard` has read."""
    body: bytes = request.scope[BODY]
    return body


def client_of(request: Request) -> str:
    """Return the key by which clients take turns: the address and port of the connection."""
    return f"{request.client.host}:{request.client.port}" if request.client else ""
