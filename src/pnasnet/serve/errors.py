"""Errors of requests, each with its HTTP status."""

from ..errors import PnasnetError, choose_one_of


class ServeError(PnasnetError):
    """A request that is refused or fails. The message is one line for the client.

    Attributes:
        status: HTTP status; `grpc_calls` maps it to gRPC's.
        retry_after: seconds after which a retry may succeed; None if it cannot.
    """

    status = 400
    retry_after: int | None = None

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status


class BusyError(ServeError):
    """The server has no room for the request at the moment."""

    status, retry_after = 429, 1


class DrainingError(ServeError):
    """The server is shutting down."""

    status, retry_after = 503, 1


class EngineError(ServeError):
    """The engine failed on the request's batch."""

    status = 500


def unknown_model(name: str, known: list[str]) -> ServeError:
    """Return the error for a model that is not served."""
    return ServeError(f"no model {name!r} is served: {choose_one_of(known)}", 404)
