"""Checks of every HTTP request before its route: API key, body with its limits, and whether the client has left."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import BODY, error_response
from .auth import ApiKeys
from .errors import ServeError
from .limits import ByteBudget, ServerLimits, Share, inflate, too_large
from .metrics import Metrics

OPEN_PATHS = frozenset(("/", "/healthz", "/v2/health/live", "/v2/health/ready"))
"""Paths that need no API key: probes, and a page that asks for the key."""
_DISCARD_SECONDS = 2.0
_LOOK_SECONDS = 0.1
"""Most requests are answered before, and save a task each."""


class Guard:
    """ASGI middleware: checks the key, reads and inflates the body, and cancels requests whose clients have left.

    A body is in memory before its route runs; all bodies share one budget. A refused request's body is read on for a
    moment and dropped: a client that is still sending would not see the answer.
    """

    def __init__(self, app: ASGIApp, limits: ServerLimits, keys: ApiKeys, metrics: Metrics) -> None:
        self._app, self._limits, self._keys, self._metrics = app, limits, keys, metrics
        self._bodies = ByteBudget(limits.bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, complete = Headers(scope=scope), False

        async def noted() -> Message:
            nonlocal complete
            message = await receive()
            complete = not message.get("more_body")
            return message

        send = self._watched(scope["path"], send)
        with self._bodies.share() as share:
            try:
                if scope["path"] not in OPEN_PATHS and not self._keys.accept(headers.get("authorization")):
                    raise ServeError("the API key is missing or wrong: send the header Authorization: Bearer KEY", 401)
                body = await self._body(headers, noted, share)
            except ServeError as error:
                if not complete and "expect" not in headers:
                    await _discard(noted, self._limits.body)
                response = error_response(scope["path"], error)
                response.headers["Connection"] = "close"
                await response(scope, receive, send)
                return
            if body is not None:
                scope[BODY] = body
                await self._run(scope, receive, send)

    async def _body(self, headers: Headers, receive: Receive, share: Share) -> bytes | None:
        """Return the body, inflated; None if the client left. Raises `ServeError`."""
        most, encoding = self._limits.body, ", ".join(headers.getlist("content-encoding")).strip().lower()
        if "transfer-encoding" in headers and "content-length" in headers:  # proxies and servers read it differently
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
        """Run the route; cancel it when the client leaves, which is looked for only if the route takes a while."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        left: asyncio.Task[None] | None = None

        def cancel(left: asyncio.Task[None]) -> None:
            if not left.cancelled():
                task.cancel()

        def watch() -> None:
            nonlocal left
            left = loop.create_task(_leaving(receive))
            left.add_done_callback(cancel)

        timer = loop.call_later(_LOOK_SECONDS, watch)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if left is None or not left.done() or left.cancelled():
                raise
            task.uncancel()
        finally:
            timer.cancel()
            if left is not None:
                left.remove_done_callback(cancel)
                left.cancel()

    def _watched(self, path: str, send: Send) -> Send:
        """Return `send`, which counts answers and raises `TimeoutError` if a client does not read its answer."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answers.labels(_protocol(path), message["status"]).inc()
            async with asyncio.timeout(self._limits.body_seconds):
                await send(message)

        return watched


async def _leaving(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard(receive: Receive, most: int) -> None:
    """Read on, for a moment and up to `most` bytes."""
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
