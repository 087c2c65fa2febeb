"""HTTP/1.1 connections with a time limit for headers; uvicorn limits only the time between requests."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 64 << 10


def protocol(header_seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, which closes a connection if the next request's headers are not complete in time."""

    class Timed(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop()

        def _should_upgrade(self) -> bool:
            """Ignore offers to upgrade to HTTP/2 or WebSocket; uvicorn's own method also logs each."""
            return False

        def _watch(self) -> None:
            """Start the timer when headers are due; stop it when they are complete."""
            if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
                self._stop()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(header_seconds, self.transport.close)

        def _stop(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Timed
