"""Traces of requests for OpenTelemetry, if it is installed and set up (`opentelemetry-instrument` does so).

    server span ─┬─ decode: one image, including the wait for a thread
                 ├─ queue: from the end of decoding to the call of the engine
                 └─ engine: the call with the image's batch, and its error if it failed

Without a tracer provider, nothing is recorded.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..support.contexts import contextmanager
from .batcher import EngineCall

_NAME = "pnasnet.serve"
_FAILED = 500


class Tracing:
    """Records spans, or nothing.

    Attributes:
        on: whether spans are recorded.
    """

    def __init__(self, provider: Any | None = None) -> None:
        """Use OpenTelemetry's tracer provider `provider`, by default that of this process."""
        self._tracer = _tracer(provider)
        self.on = self._tracer is not None

    @contextmanager
    def request(self, name: str, carrier: Mapping[str, str], attributes: Mapping[str, Any]) -> Iterator[Any]:
        """Record the block as a request, and yield its span. `carrier` has the client's headers. Requires `on`."""
        from opentelemetry import propagate, trace

        assert self._tracer is not None
        context = propagate.extract(carrier)
        with self._tracer.start_as_current_span(name, context, trace.SpanKind.SERVER, attributes) as span:
            yield span

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Record the block as a part of the current request."""
        return nullcontext() if self._tracer is None else self._tracer.start_as_current_span(name)

    def waited(self, begin: int, call: EngineCall) -> None:
        """Record, for the current request, the wait for the engine since `begin` and the engine's call."""
        if self._tracer is None:
            return
        self._tracer.start_span("queue", start_time=begin).end(call.start)
        attributes = {"pnasnet.batch_images": call.images}
        span = self._tracer.start_span("engine", start_time=call.start, attributes=attributes)
        if call.error:
            fail(span, call.error)
        span.end(call.end)


def _tracer(provider: Any | None) -> Any | None:
    """Return a tracer; None if OpenTelemetry is missing or records nothing in this process."""
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    provider = provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer(_NAME)


def fail(span: Any, reason: str = "") -> None:
    """Set the status of a span to ERROR."""
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, reason or None))


class Traced:
    """ASGI middleware that records HTTP requests."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app, self._tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"], "url.path": scope["path"]}
        with self._tracing.request(method, carrier, attributes) as span:

            async def record_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _FAILED:
                        fail(span)
                await send(message)

            await self._app(scope, receive, record_status)
            if (route := getattr(scope.get("route"), "path", None)) is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
