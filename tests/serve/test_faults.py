"""Load and malice: what the server must survive, and with which answers."""

import random
import resource
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests

from pnasnet.serve import Limits, Service

from tests.helpers.serving import Blocked, Live, encoded, fake_models, live
from tests.helpers.waiting import until

LONG = (pytest.mark.slow, pytest.mark.long)
PATHS = (
    "/embed", "/classify?top=2", "/similar", "/v1/embeddings", "/v1/models/tiny:predict", "/v1/models/tiny:classify",
    "/v2/models/tiny/infer", "/v2/models/tiny/versions/1/infer", "/v1/models/%00:predict", "/v2/models/%1b[31m/infer",
)  # fmt: skip
TYPES = ("application/json", "multipart/form-data; boundary=b", "image/png", "text/plain", "", "multipart/form-data")
SEEDS = (
    b'{"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 64, 64, 3], "data": [0.5]}]}',
    b'{"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}]}',
    b'{"instances": [{"b64": "aGVsbG8="}], "signature_name": "default"}',
    b'{"model": "tiny", "input": ["data:image/png;base64,aGVsbG8="], "encoding_format": "base64"}',
    b'{"examples": [{"image": {"b64": "aGVsbG8="}}]}',
    b'--b\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\nhello\r\n--b--\r\n',
    encoded(size=(9, 9)),
)


def malformed(numbers: random.Random) -> dict[str, Any]:
    """Return a request that is nearly right: a good body with some bytes changed, cut or repeated."""
    body = bytearray(numbers.choice(SEEDS))
    for _ in range(numbers.randrange(4)):
        place = numbers.randrange(len(body) + 1)
        body[place : place + numbers.randrange(4)] = numbers.choice(
            (b"", b"\x00", b"{", b"]", b'"', b"null", b"-1", b"1e999", b"\xff\xfe", numbers.randbytes(3), b"true")
        )
    headers = {"Content-Type": numbers.choice(TYPES)}
    if numbers.random() < 0.3:
        headers["Inference-Header-Content-Length"] = numbers.choice(("0", "5", "-1", "x", "99999", "\u00b2", "92"))
    if numbers.random() < 0.1:
        headers["Content-Encoding"] = numbers.choice(("gzip", "deflate", "br", "gzip, gzip"))
    headers = {name: value.encode("latin-1") for name, value in headers.items()}  # type: ignore[misc]
    return {"method": numbers.choice(("POST", "POST", "POST", "GET", "PUT")), "data": bytes(body), "headers": headers}


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=LONG)])
def test_malformed_requests_are_no_fault_of_the_server(count: int) -> None:
    numbers, statuses = random.Random(count), Counter[Any]()
    service = Service(fake_models())
    with live(service) as server, requests.Session() as session:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            before = 0
            for number in range(count):
                if number == count // 10:
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                request = malformed(numbers)
                if number % 8 == 0:
                    with pytest.raises(grpc.RpcError) as raised:
                        infer(request["data"], timeout=30)
                    statuses[raised.value.code()] += 1
                    continue
                answer = session.request(url=server.url + numbers.choice(PATHS), timeout=30, **request)
                statuses[answer.status_code] += 1
                assert answer.headers["Content-Type"] != "application/json" or answer.text.isprintable()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert server.post("/embed", data=encoded()).status_code == 200
    assert {status for status in statuses if isinstance(status, int)} <= {200, 400, 404, 405, 413, 415}, statuses
    assert {status for status in statuses if not isinstance(status, int)} == {grpc.StatusCode.INVALID_ARGUMENT} | (
        {grpc.StatusCode.NOT_FOUND} & set(statuses)
    ), statuses
    assert after - before < 100_000, "kB"
    assert service.accepted == 0


@pytest.mark.parametrize("images", [1, 4])
def test_overload_is_answered_with_200_or_429(images: int) -> None:
    service = Service(fake_models(), Limits(queue=8), batch_size=2)
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
        until(lambda: service.accepted == 1)
        with pytest.raises(requests.Timeout):
            requests.post(server.url + "/embed", data=encoded(), timeout=0.5)
        until(lambda: service.accepted == 1)
        engine.gate.set()
        assert first.result().status_code == 200
        batches = requests.get(server.url + "/metrics", timeout=9).text
    assert 'pnasnet_batch_images_sum{model="tiny"} 1.0' in batches


def test_a_form_of_many_small_parts() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\n\r\n'
    with live(Service(fake_models())) as server:
        answer = server.post("/embed", data=part * 300_000, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 413


def test_an_image_of_few_bytes_and_many_pixels() -> None:
    with live(Service(fake_models(), Limits(pixels=1_000_000))) as server:
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


@pytest.mark.parametrize("seconds", [3, pytest.param(600, marks=LONG)])
def test_memory_stays_flat(seconds: float) -> None:
    service = Service(fake_models())
    with live(service) as server, ThreadPoolExecutor(4) as pool:
        start = time.monotonic()
        sizes = list[int]()

        def work(seed: int) -> None:
            numbers = random.Random(seed)
            with requests.Session() as session:
                while (passed := time.monotonic() - start) < seconds:
                    if seed == 0 and passed > seconds / 3:
                        sizes.append(memory())
                    good = {"method": "POST", "data": encoded(numbers.randrange(9))}
                    request = good if numbers.random() < 0.5 else malformed(numbers)
                    session.request(url=server.url + numbers.choice(PATHS), timeout=30, **request)

        for worker in [pool.submit(work, seed) for seed in range(4)]:
            worker.result()
    assert sizes[-1] - sizes[0] < 50_000_000


def memory() -> int:
    """Return the bytes of memory that this process uses now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
