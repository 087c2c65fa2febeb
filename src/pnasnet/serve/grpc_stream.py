"""ModelStreamInfer: many requests over one gRPC call, answered in order."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc

from .errors import ServeError
from .grpc_calls import OK, attempt, check_key, infer, parse_into
from .grpc_messages import INFERENCE, message
from .limits import ByteBudget
from .models import Served
from .service import Service

_AHEAD = 16
"""Limit of the unanswered requests of a stream; with more, one stream could fill the queue that all clients share."""
_POLL_SECONDS = 0.2
_NAME = "ModelStreamInfer"
_ENDING = "the server is shutting down: try another server"


def stream_handler(service: Service, budget: ByteBudget) -> Any:
    """Return the handler of the call. An error is its response's `error_message`; the stream continues."""

    async def handle(requests: Any, context: Any) -> None:
        try:
            check_key(service, context)
        except ServeError as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        await _Stream(service, budget, context).run()

    return handle


class _Stream:
    """One call: a task reads the requests, at most `_AHEAD` in advance, and `run` writes the responses."""

    def __init__(self, service: Service, budget: ByteBudget, context: Any) -> None:
        self._service, self._budget, self._context = service, budget, context
        self._pending: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(_AHEAD)
        self._tasks = set[asyncio.Task[Any]]()
        self._turn = asyncio.Lock()  # requests reserve room in order: a later one must not overtake an earlier one
        self._admitted = set[asyncio.Task[Any]]()  # tasks with room reserved, not yet answered

    async def run(self) -> None:
        """Write responses until the client has sent its last request or disconnects, or the server shuts down."""
        reader = asyncio.create_task(self._read())
        try:
            while (task := await self._pending.get()) is not None:
                response = await task
                async with asyncio.timeout(self._service.limits.body_seconds):
                    await self._context.write(response)
            if not await reader:
                await self._context.abort(grpc.StatusCode.UNAVAILABLE, _ENDING)
        except TimeoutError:
            await self._context.abort(grpc.StatusCode.ABORTED, "the responses were not read in time")
        finally:
            for task in (reader, *self._tasks):
                task.cancel()

    async def _read(self) -> bool:
        """Start a task for each request; return True at the end of the requests, False if the server shuts down."""
        try:
            while (raw := await self._next()) is not grpc.aio.EOF:
                if raw is None:
                    return False
                task = asyncio.create_task(self._respond(raw))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                await self._pending.put(task)
            return True
        finally:
            await self._pending.put(None)

    async def _next(self) -> Any:
        """Return the bytes of the next request, or `EOF`; None if the server shuts down."""
        reading = asyncio.ensure_future(self._context.read())
        try:
            while not reading.done():
                if self._service.draining:
                    return None
                await asyncio.wait((reading,), timeout=_POLL_SECONDS)
            return reading.result()
        finally:
            reading.cancel()

    async def _respond(self, raw: bytes) -> Any:
        """Return the response to a request. If it does not fit, it first waits for earlier requests of this stream."""
        request = message(INFERENCE, "ModelInferRequest")()
        result, code, text = await attempt(self._service, _NAME, self._compute(raw, request), self._context)
        response = message(INFERENCE, "ModelStreamInferResponse")
        if code is OK:
            result.parameters["triton_final_response"].bool_param = True
            return response(infer_response=result)
        return response(error_message=text, infer_response={"id": request.id, "model_name": request.model_name})

    async def _compute(self, raw: bytes, request: Any) -> Any:
        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self._turn)

            async def room(served: Served, images: int) -> None:
                await self._until(lambda: served.batcher.fits(images))
                self._admit()
                await turn.aclose()

            await self._until(lambda: self._budget.fits(len(raw)))
            with self._budget.share() as share:
                share.take(len(raw))
                parse_into(request, raw)
                return await infer(self._service, request, self._context.peer(), room)

    async def _until(self, fits: Callable[[], bool]) -> None:
        """Wait until a request fits, or no other request of this stream holds room."""
        while self._admitted and not fits():
            await asyncio.wait(self._admitted, return_when=asyncio.FIRST_COMPLETED)

    def _admit(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._admitted.add(task)
        task.add_done_callback(self._admitted.discard)
