"""Errors of requests, each with its HTTP status."""

from ..errors import PnasnetError, choose_one_of


class ServeError(PnasnetError):
    """A request that is refused or fails. The message, one line, is for its client.

    Attributes:
        status: of HTTP; gRPC has its own for each.
        retry_after: seconds after which the same request may succeed; None if it will not.
    """

    status = 400
    retry_after: int | None = None

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status


class BusyError(ServeError):
    """The server has no room for this request now."""

    status, retry_after = 429, 1


class DrainingError(ServeError):
    """The server is shutting down."""

    status, retry_after = 503, 1


class EngineError(ServeError):
    """The engine failed on the batch of this request."""

    status = 500


def unknown_model(name: str, known: list[str]) -> ServeError:
    """Return the error for a model that is not served."""
    return ServeError(f"no model {name!r} is served: {choose_one_of(known)}", 404)
