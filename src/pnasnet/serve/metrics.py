"""Metrics in Prometheus's format; docs/serve.md lists their names."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..support.contexts import contextmanager
from .errors import BusyError, DrainingError

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server. Each server has its own registry, so a process may run several."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.answers = Counter(
            "pnasnet_answers", "Responses by protocol and status.", ("protocol", "status"), registry=self._registry
        )
        self.refused = Counter(
            "pnasnet_refused", "Requests refused because of load.", ("model", "reason"), registry=self._registry
        )
        self.queue = Gauge(
            "pnasnet_queue_images", "Images accepted and not answered.", ("model",), registry=self._registry
        )
        self.batch = self._histogram("pnasnet_batch_images", "Images in each call of the engine.", _IMAGES)
        self.request = self._histogram("pnasnet_request_seconds", "From an accepted request to its rows.", _SECONDS)
        self.decode = self._histogram("pnasnet_decode_seconds", "Decoding of an image, waiting included.", _SECONDS)
        self.engine = self._histogram("pnasnet_engine_seconds", "Each call of the engine.", _SECONDS)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, ("model",), registry=self._registry, buckets=buckets)

    def of(self, model: str) -> "ModelMetrics":
        """Return the metrics of a model."""
        return ModelMetrics(self, model)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class ModelMetrics:
    """The metrics of one model."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._queue = metrics.queue.labels(model)
        self._batch, self._request = metrics.batch.labels(model), metrics.request.labels(model)
        self._decode, self._engine = metrics.decode.labels(model), metrics.engine.labels(model)
        self._busy, self._draining = (metrics.refused.labels(model, reason) for reason in ("busy", "draining"))

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Let the gauge of the queue call `length` whenever it is read."""
        self._queue.set_function(length)

    def batch(self, images: int) -> None:
        """Count a batch."""
        self._batch.observe(images)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Time a request, or count its refusal."""
        try:
            with self._request.time():
                yield
        except BusyError:
            self._busy.inc()
            raise
        except DrainingError:
            self._draining.inc()
            raise

    def decoding(self) -> AbstractContextManager[object]:
        """Time the decoding of an image."""
        return self._decode.time()

    def running(self) -> AbstractContextManager[object]:
        """Time a call of the engine."""
        return self._engine.time()
