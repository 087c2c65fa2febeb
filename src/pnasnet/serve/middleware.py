"""Middleware before every HTTP route: API key, body and its limits, and cancellation if the client disconnects."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import ApiKeys
from .errors import ServeError
from .limits import ByteBudget, ServerLimits, Share, inflate, too_large
from .metrics import Metrics
from .responses import BODY, error_response

OPEN_PATHS = frozenset(("/", "/healthz", "/v2/health/live", "/v2/health/ready"))
"""Paths that need no API key: probes, and a page that asks for the key."""
_DISCARD_SECONDS = 2.0
_WATCH_AFTER_SECONDS = 0.1
"""Time until a request is watched for a disconnect. Most are answered before, which saves a task each."""


class Guard:
    """ASGI middleware: checks the key, reads and inflates the body, and cancels requests whose clients disconnect.

    The whole body is in memory before the route runs; all bodies share one budget. If a request is refused, the rest of
    its body is read and dropped for a moment: a client that is still sending would not read the response.
    """

    def __init__(self, app: ASGIApp, limits: ServerLimits, keys: ApiKeys, metrics: Metrics) -> None:
        self._app, self._limits, self._keys, self._metrics = app, limits, keys, metrics
        self._bodies = ByteBudget(limits.bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, complete = Headers(scope=scope), False

        async def receive_body() -> Message:
            nonlocal complete
            message = await receive()
            complete = not message.get("more_body")
            return message

        send = self._measured(scope["path"], send)
        with self._bodies.share() as share:
            try:
                if scope["path"] not in OPEN_PATHS and not self._keys.accept(headers.get("authorization")):
                    raise ServeError("the API key is missing or wrong: send the header Authorization: Bearer KEY", 401)
                body = await self._body(headers, receive_body, share)
            except ServeError as error:
                if not complete and "expect" not in headers:
                    await _discard(receive_body, self._limits.body)
                response = error_response(scope["path"], error)
                response.headers["Connection"] = "close"
                await response(scope, receive, send)
                return
            if body is not None:
                scope[BODY] = body
                await self._run(scope, receive, send)

    async def _body(self, headers: Headers, receive: Receive, share: Share) -> bytes | None:
        """Return the body, inflated; None if the client disconnected. Raises `ServeError`."""
        most, encoding = self._limits.body, ", ".join(headers.getlist("content-encoding")).strip().lower()
        if "transfer-encoding" in headers and "content-length" in headers:  # proxies and servers may disagree
            raise ServeError("a request has either Content-Length or Transfer-Encoding, not both")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise too_large(most)
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size > most:
                        raise too_large(most)
                    share.take(len(part))
                    parts.append(part)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g}"
            raise ServeError(f"the body was not complete after {seconds} seconds: send it faster", 408) from None
        body = b"".join(parts)
        if encoding in ("", "identity"):
            return body
        plain = await asyncio.to_thread(inflate, body, encoding, most)
        share.take(len(plain))
        return plain

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the route, and cancel it if the client disconnects. Only routes that take a while are watched."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        disconnect: asyncio.Task[None] | None = None

        def cancel(disconnect: asyncio.Task[None]) -> None:
            if not disconnect.cancelled():
                task.cancel()

        def watch() -> None:
            nonlocal disconnect
            disconnect = loop.create_task(_disconnected(receive))
            disconnect.add_done_callback(cancel)

        timer = loop.call_later(_WATCH_AFTER_SECONDS, watch)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if disconnect is None or not disconnect.done() or disconnect.cancelled():
                raise
            task.uncancel()
        finally:
            timer.cancel()
            if disconnect is not None:
                disconnect.remove_done_callback(cancel)
                disconnect.cancel()

    def _measured(self, path: str, send: Send) -> Send:
        """Return a `send` that counts responses, and raises `TimeoutError` if the client does not read its response."""

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answers.labels(_protocol(path), message["status"]).inc()
            async with asyncio.timeout(self._limits.body_seconds):
                await send(message)

        return measured


async def _disconnected(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard(receive: Receive, most: int) -> None:
    """Read and drop the rest of a body: up to `most` bytes, for at most `_DISCARD_SECONDS`."""
    end = time.monotonic() + _DISCARD_SECONDS
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while most > 0 and time.monotonic() < end:
                message = await receive()
                most -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def _protocol(path: str) -> str:
    prefixes: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("kserve", lambda path: path.startswith("/v2")),
        ("openai", lambda path: path in ("/v1/embeddings", "/v1/models")),
        ("tf_serving", lambda path: path.startswith("/v1/")),
        ("native", lambda path: path in ("/embed", "/classify", "/similar")),
    )
    return next((name for name, fits in prefixes if fits(path)), "other")
