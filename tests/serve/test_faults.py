"""Load and malice: what the server must survive, and with which answers."""

import resource
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from pnasnet.serve import ServerLimits, Service

from tests.helpers.serving import Blocked, Live, encoded, fake_models, live
from tests.helpers.waiting import until


@pytest.mark.parametrize("images", [1, 4])
def test_overload_is_answered_with_200_or_429(images: int) -> None:
    service = Service(fake_models(), ServerLimits(queue=8), batch_size=2)
    engine = Blocked(service)

    def post(server: Live) -> requests.Response:
        return server.post("/embed", files=[("i", ("a", encoded()))] * images)

    with live(service) as server, ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(post, server) for _ in range(24)]
        until(lambda: sum(each.done() for each in answers) == 24 - 8 // images)
        assert service.accepted == 8
        engine.gate.set()
        statuses = Counter(each.result().status_code for each in answers)
        assert statuses == {200: 8 // images, 429: 24 - 8 // images}
        assert all(each.result().headers["Retry-After"] == "1" for each in answers if each.result().status_code == 429)
        assert post(server).status_code == 200


def test_an_engine_error_fails_its_batch_alone() -> None:
    service = Service(fake_models(), batch_size=1)
    engine = Blocked(service)
    engine.fail = True
    with live(service) as server, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.post, "/embed", data=encoded()) for _ in range(4)]
        until(lambda: service.accepted == 4)
        engine.gate.set()
        results = [each.result() for each in answers]
        assert sorted(each.status_code for each in results) == [200, 200, 200, 500]
        (failed,) = (each for each in results if each.status_code == 500)
        assert failed.json() == {"error": "the engine failed: no memory"}


def test_images_of_clients_that_left_are_dropped() -> None:
    service = Service(fake_models(), batch_size=1)
    engine = Blocked(service)
    with live(service) as server, ThreadPoolExecutor(4) as pool:
        first = pool.submit(server.post, "/embed", data=encoded())
        assert engine.entered.wait(60)
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as leaving:
            head = f"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: {len(encoded())}\r\n\r\n"
            leaving.sendall(head.encode() + encoded())
            until(lambda: service.accepted == 2)
        until(lambda: service.accepted == 1)
        engine.gate.set()
        assert first.result().status_code == 200
        batches = requests.get(server.url + "/metrics", timeout=60).text
    assert 'pnasnet_batch_images_sum{model="tiny"} 1.0' in batches


def test_a_form_of_many_small_parts() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\n\r\n'
    with live(Service(fake_models())) as server:
        answer = server.post("/embed", data=part * 300_000, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 413


def test_an_image_of_few_bytes_and_many_pixels() -> None:
    with live(Service(fake_models(), ServerLimits(pixels=1_000_000))) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bomb = encoded_black(20_000, 20_000)
        answer = server.post("/embed", data=bomb)
        assert answer.status_code == 400
        assert "more than the limit of 1,000,000" in answer.json()["error"]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def encoded_black(width: int, height: int) -> bytes:
    """Return a PNG of one colour, made row by row."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + width // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_results_that_are_not_finite_are_an_error() -> None:
    service = Service(fake_models())
    (served,) = service.models.values()
    served.module.run = lambda images, endpoints: {  # type: ignore[method-assign]
        name: np.full((len(images), 160), np.nan, np.float32) for name in endpoints
    }
    with live(service) as server:
        answer = server.post("/embed", data=encoded())
        assert answer.status_code == 500
        assert "not finite" in answer.json()["error"]
