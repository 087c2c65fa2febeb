"""Traces of requests, with OpenTelemetry's SDK; and that nothing of it is needed."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from pnasnet.serve import Service
from pnasnet.serve.tracing import Tracing

from tests.helpers.serving import Blocked, Live, encoded, fake_models, live
from tests.helpers.waiting import until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """What a server has recorded."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def wait(self, count: int) -> None:
        """Wait for so many spans."""
        until(lambda: len(self._exporter.get_finished_spans()) >= count)

    def take(self, count: int) -> list[Any]:
        """Return so many spans; a request's own is the last, and ends after its answer."""
        self.wait(count)
        spans = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)
        self._exporter.clear()
        return spans


@pytest.fixture
def traced() -> Iterator[tuple[Live, Spans]]:
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    with live(Service(fake_models(), tracer_provider=provider)) as server:
        yield server, Spans(exporter)


def check_parts(request: Any, parts: list[Any]) -> None:
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert [part.parent.span_id for part in parts] == [request.context.span_id] * len(parts)
    for part in parts:
        assert request.start_time <= part.start_time <= part.end_time <= request.end_time


def test_a_request_over_http(traced: tuple[Live, Spans]) -> None:
    server, spans = traced
    files = [("i", encoded()), ("i", encoded(1))]
    assert server.post("/embed", files=files, headers={"traceparent": TRACEPARENT}).status_code == 200
    request, *parts = spans.take(7)
    assert (request.name, request.kind.name) == ("POST /embed", "SERVER")
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["http.route"] == "/embed"
    assert sorted(part.name for part in parts) == ["decode", "decode", "engine", "engine", "queue", "queue"]
    check_parts(request, parts)
    waits = {part.end_time for part in parts if part.name == "queue"}
    runs = {part.start_time for part in parts if part.name == "engine"}
    assert waits == runs


def test_a_request_over_grpc(traced: tuple[Live, Spans]) -> None:
    server, spans = traced
    given = triton.InferInput("image_bytes", [1], "BYTES")
    given.set_data_from_numpy(np.array([encoded()], np.object_))
    wanted = [triton.InferRequestedOutput("global_pool")]
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.infer("tiny", [given], outputs=wanted, headers={"traceparent": TRACEPARENT})
    request, *parts = spans.take(4)
    assert request.name == "inference.GRPCInferenceService/ModelInfer"
    assert request.attributes["rpc.grpc.status_code"] == 0
    assert [part.name for part in parts] == ["decode", "queue", "engine"]
    check_parts(request, parts)


def test_failures_are_marked(traced: tuple[Live, Spans]) -> None:
    server, spans = traced
    assert server.post("/embed", data=b"no image").status_code == 400
    assert server.post("/nowhere").status_code == 404
    engine = Blocked(server.service)
    engine.fail = True
    engine.gate.set()
    assert server.post("/embed", data=encoded()).status_code == 500
    recorded = spans.take(7)
    requests = [span for span in recorded if span.kind.name == "SERVER"]
    assert [span.status.status_code.name for span in requests] == ["UNSET", "UNSET", "ERROR"]
    assert [span.name for span in requests] == ["POST /embed", "POST", "POST /embed"]
    assert [span.name for span in recorded[-4:]] == ["POST /embed", "decode", "queue", "engine"]
    assert [span.status.status_code.name for span in recorded[-3:]] == ["UNSET", "UNSET", "ERROR"]
    assert recorded[-1].status.description == "the engine failed: no memory"
    assert recorded[-1].attributes["pnasnet.batch_images"] == 1


def test_a_batch_that_fails_is_marked_in_each_of_its_requests(traced: tuple[Live, Spans]) -> None:
    def fail(images: Any, endpoint: str) -> Any:
        raise RuntimeError("a secret")

    server, spans = traced
    engine = Blocked(server.service)
    engine._run = fail
    with ThreadPoolExecutor(3) as pool:
        try:
            answers = [pool.submit(server.post, "/embed", data=encoded())]
            until(lambda: b'pnasnet_batch_images_count{model="tiny"} 1.0' in server.service.metrics.text())
            answers += [pool.submit(server.post, "/embed", data=encoded()) for _ in range(2)]
            spans.wait(3)  # all are decoded
        finally:
            engine.gate.set()
        assert [each.result().status_code for each in answers] == [500] * 3
    engines = [span for span in spans.take(12) if span.name == "engine"]
    assert [span.attributes["pnasnet.batch_images"] for span in engines] == [1, 2, 2]
    assert {span.status.status_code.name for span in engines} == {"ERROR"}
    assert {span.status.description for span in engines} == {"the engine failed: RuntimeError"}
    assert len({span.context.trace_id for span in engines}) == 3


def test_nothing_is_recorded_unless_it_is_set_up() -> None:
    assert not Tracing().on
    assert not Service(fake_models()).tracing.on


def test_opentelemetry_is_not_needed() -> None:
    code = """if True:
        import sys
        sys.modules["opentelemetry"] = None
        from pnasnet.serve.batcher import EngineCall
        from pnasnet.serve.tracing import Tracing
        tracing = Tracing()
        assert not tracing.on
        with tracing.span("decode"):
            tracing.waited(1, EngineCall(2, 3, 4))
        assert not [name for name in sys.modules if name.startswith("opentelemetry.")]
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
