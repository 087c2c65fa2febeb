"""ModelStreamInfer, with tritonclient's streams: answers, errors, back pressure and ends."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from pnasnet.serve import ServerLimits, Service, grpc_stream
from pnasnet.serve.auth import ApiKeys
from pnasnet.serve.grpc_messages import message

from tests.helpers.serving import Blocked, Live, encoded, fake_models, live
from tests.helpers.waiting import until

NAME = "pnasnet_tiny"
CALL = "/inference.GRPCInferenceService/ModelStreamInfer"


def strings(images: list[bytes]) -> triton.InferInput:
    given = triton.InferInput("image_bytes", [len(images)], "BYTES")
    given.set_data_from_numpy(np.array(images, np.object_))
    return given


class Stream:
    """A stream of tritonclient, whose answers are collected."""

    def __init__(self, client: Any, model: str) -> None:
        self._client, self._model = client, model
        self._found: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def note(self, result: Any, error: Any) -> None:
        self._found.put((result, error))

    def send(self, images: list[bytes], request_id: str = "") -> None:
        wanted = [triton.InferRequestedOutput("global_pool")]
        self._client.async_stream_infer(self._model, [strings(images)], outputs=wanted, request_id=request_id)

    def next(self) -> tuple[Any, Any]:
        return self._found.get(timeout=60)

    @property
    def answered(self) -> int:
        return self._found.qsize()


@contextmanager
def stream(server: Live, model: str = "tiny", **options: Any) -> Iterator[Stream]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        opened = Stream(client, model)
        client.start_stream(opened.note, **options)
        try:
            yield opened
        finally:
            client.stop_stream(cancel_requests=True)


def request(images: list[bytes]) -> bytes:
    contents = {"bytes_contents": images}
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [len(images)], "contents": contents}
    data: bytes = message("inference", "ModelInferRequest")(
        model_name="tiny", inputs=[given], outputs=[{"name": "global_pool"}]
    ).SerializeToString()
    return data


def test_answers_equal_those_of_single_calls_in_their_order(server: Live) -> None:
    requests = [[encoded(seed)] * (1 + seed % 3) for seed in range(40)]
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client, stream(server, NAME) as opened:
        for number, images in enumerate(requests):
            opened.send(images, str(number))
        for number, images in enumerate(requests):
            result, error = opened.next()
            assert error is None
            assert result.get_response().id == str(number)
            assert result.get_response().parameters["triton_final_response"].bool_param
            alone = client.infer(NAME, [strings(images)], outputs=[triton.InferRequestedOutput("global_pool")])
            assert (result.as_numpy("global_pool") == alone.as_numpy("global_pool")).all()


def test_an_error_concerns_its_request_alone(server: Live) -> None:
    with stream(server, NAME) as opened:
        for images in ([encoded()], [b"no image"], [encoded()] * 65, [encoded(1)]):
            opened.send(images)
        results = [opened.next() for _ in range(4)]
    assert [error is None for _, error in results] == [True, False, False, True]
    assert "image 1 of 1: not an image" in results[1][1].message()
    assert "at most 64 at a time" in results[2][1].message()


def test_bytes_that_are_no_message_concern_their_request_alone(server: Live) -> None:
    response = message("inference", "ModelStreamInferResponse")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        good = request([encoded()]).replace(b"tiny", b"none")
        found = [response.FromString(raw) for raw in channel.stream_stream(CALL)(iter((b"\xff", good)), timeout=60)]
    assert found[0].error_message == "the request is not a message of this call"
    assert "no model 'none' is served" in found[1].error_message
    assert found[1].infer_response.model_name == "none"


def test_a_stream_waits_for_room_rather_than_refuse_its_own_requests() -> None:
    service = Service(fake_models(), ServerLimits(queue=4, bodies=40_000), batch_size=2)
    engine = Blocked(service)
    with live(service) as server, stream(server) as opened:
        for seed in range(20):
            opened.send([encoded(seed)] * 3)
        until(lambda: service.accepted == 3)
        time.sleep(0.3)
        assert (service.accepted, opened.answered) == (3, 0)
        engine.gate.set()
        assert [opened.next()[1] for _ in range(20)] == [None] * 20
        assert 'pnasnet_refused_total{model="tiny",reason="busy"} 0.0' in service.metrics.text().decode()


@pytest.mark.parametrize("sizes", [(3, 4, 1), (3, 1, 4), (3, 0, 4), (3, 65, 4, 1)])
def test_a_request_takes_no_room_that_one_before_it_waits_for(sizes: tuple[int, ...]) -> None:
    """No images and 65 are errors: the request after one of these waits for those before it."""
    service = Service(fake_models(), ServerLimits(queue=4), batch_size=1)
    engine = Blocked(service)
    with live(service) as server, stream(server) as opened:
        for size in sizes:
            opened.send([encoded()] * size)
        until(lambda: service.accepted >= 3)
        time.sleep(0.2)
        engine.gate.set()
        errors = [opened.next()[1] for _ in sizes]
    assert [error is None for error in errors] == [0 < size < 65 for size in sizes]


def test_room_that_others_have_taken_is_not_waited_for() -> None:
    service = Service(fake_models(), ServerLimits(queue=4))
    engine = Blocked(service)
    with live(service) as server, stream(server) as other, stream(server) as opened:
        other.send([encoded()] * 3)
        until(lambda: service.accepted == 3)
        opened.send([encoded()] * 2)
        assert "2 more do not fit" in opened.next()[1].message()
        engine.gate.set()
        assert other.next()[1] is None


def test_a_client_that_sends_faster_than_it_is_answered_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client has sent depends on the buffers between both; what the server has read must not."""
    service = Service(fake_models(), ServerLimits(queue=4))
    engine, sent, read = Blocked(service), list[int](), list[bytes]()
    answer = grpc_stream._Stream._respond

    def noted(self: grpc_stream._Stream, raw: bytes) -> Any:
        read.append(raw[:1])
        return answer(self, raw)

    monkeypatch.setattr(grpc_stream._Stream, "_respond", noted)
    large = request([encoded(size=(600, 600))] * 2)  # 2 MB

    def requests() -> Iterator[bytes]:
        for number in range(60):
            sent.append(number)
            yield large

    with live(service) as server, grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        answers = channel.stream_stream(CALL)(requests(), timeout=120)
        until(lambda: service.accepted == 4 and len(read) >= 16)
        time.sleep(1)
        assert len(read) <= 18  # one is answered, 16 follow, and one waits for room among these
        assert len(sent) < 60
        engine.gate.set()
        assert sum(1 for _ in answers) == 60
        assert service.accepted == 0


def test_the_images_of_a_stream_that_was_left_are_dropped() -> None:
    service = Service(fake_models(), batch_size=1)
    engine = Blocked(service)
    with live(service) as server:
        with stream(server) as opened:
            for seed in range(5):
                opened.send([encoded(seed)])
            until(lambda: service.accepted == 5 and engine.entered.is_set())
        until(lambda: service.accepted == 0)
        engine.gate.set()
        assert server.post("/embed", data=encoded()).status_code == 200
    assert 'pnasnet_batch_images_sum{model="tiny"} 2.0' in service.metrics.text().decode()


def test_accepted_requests_are_answered_before_the_end() -> None:
    service = Service(fake_models())
    engine = Blocked(service)
    with live(service) as server, stream(server) as idle, stream(server) as opened:
        for seed in range(3):
            opened.send([encoded(seed)])
        until(lambda: service.accepted == 3)
        service.drain()
        result, error = idle.next()
        assert (result, error.status()) == (None, "StatusCode.UNAVAILABLE")
        engine.gate.set()
        assert [opened.next()[1] for _ in range(3)] == [None] * 3
        assert opened.next()[1].status() == "StatusCode.UNAVAILABLE"


def test_a_stream_needs_the_key() -> None:
    with live(Service(fake_models(), keys=ApiKeys(["secret"]))) as server:
        with stream(server) as opened:
            assert opened.next()[1].status() == "StatusCode.UNAUTHENTICATED"
        with stream(server, headers={"authorization": "Bearer secret"}) as opened:
            opened.send([encoded()])
            assert opened.next()[1] is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_stream_ends_when_its_client_has_sent_all(server: Live, count: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.stream_stream(CALL)(iter([request([encoded()]).replace(b"tiny", b"none")] * count), timeout=60)
        assert len(list(call)) == count
        assert call.code() is grpc.StatusCode.OK
