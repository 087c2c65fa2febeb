"""Requests that are nearly right, over all protocols of a server that runs in a process of its own."""

import random
import socket
from collections import Counter
from typing import Any

import grpc
import numpy as np
import requests

from pnasnet.serve.grpc_messages import message

from tests.helpers.serving import ServerProcess, encoded

MODEL = "tiny_hub_tf1"
PATHS = (
    "/embed", "/classify?top=2", "/similar", "/v1/embeddings", f"/v1/models/{MODEL}:predict",
    f"/v1/models/{MODEL}:classify", f"/v2/models/{MODEL}/infer", f"/v2/models/{MODEL}/versions/1/infer",
    "/v1/models/%00:predict", "/v2/models/%1b[31m/infer",
)  # fmt: skip
TYPES = ("application/json", "multipart/form-data; boundary=b", "image/png", "text/plain", "", "multipart/form-data")
PIXELS = (
    b'{"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 64, 64, 3], '
    b'"parameters": {"binary_data_size": 49152}}]}'
)
BODIES = (
    b'{"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 64, 64, 3], "data": [0.5]}]}',
    b'{"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}]}',
    b'{"instances": [{"b64": "aGVsbG8="}], "signature_name": "default"}',
    b'{"model": "tiny_hub_tf1", "input": ["data:image/png;base64,aGVsbG8="], "encoding_format": "base64"}',
    b'{"model": "tiny_hub_tf1", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
    b'{"examples": [{"image": {"b64": "aGVsbG8="}}]}',
    b'--b\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\nhello\r\n--b--\r\n',
    PIXELS + bytes(49152),
    encoded(size=(9, 9)),
)
LENGTHS = ("0", "5", "-1", "x", "99999", "\u00b2", "92", str(len(PIXELS)))
HEADS = (
    b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nAccept: application/json;q=1\r\n\r\n",
    b"POST /v2/models/x/infer HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
)
PIECES = (b"", b"\x00", b"{", b"]", b'"', b"null", b"-1", b"1e999", b"\xff\xfe", b"true", b"\r\n", b"9" * 30)
CALLS = ("ModelInfer", "ModelInfer", "ModelInfer", "ModelMetadata", "ModelReady", "ServerLive", "ModelStreamInfer")
_SECONDS = 30.0


class Sender:
    """Sends malformed requests, and counts the answers by protocol and status."""

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self._server, self._numbers, self.answers = server, random.Random(seed), Counter[tuple[str, Any]]()
        self._session, self._channel = requests.Session(), grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self._messages = [each.SerializeToString() for each in _infer_requests()]

    def close(self) -> None:
        self._session.close()
        self._channel.close()

    def send(self) -> None:
        """Send one request: three of four by HTTP, others by gRPC, and some as bytes of a broken HTTP."""
        kind = self._numbers.random()
        self.answers[self._by_http() if kind < 0.75 else self._by_grpc() if kind < 0.95 else self._by_socket()] += 1

    def _changed(self, seeds: tuple[bytes, ...] | list[bytes]) -> bytes:
        """Return a good body with some bytes changed, cut or repeated."""
        body, numbers = bytearray(self._numbers.choice(seeds)), self._numbers
        for _ in range(numbers.randrange(4)):
            place = numbers.randrange(min(len(body), 400) + 1)
            body[place : place + numbers.randrange(4)] = numbers.choice((*PIECES, numbers.randbytes(3)))
        return bytes(body)

    def _by_http(self) -> tuple[str, Any]:
        numbers = self._numbers
        headers = {"Content-Type": numbers.choice(TYPES), "Accept": numbers.choice(("*/*", "application/x-npy", "x"))}
        if numbers.random() < 0.3:
            headers["Inference-Header-Content-Length"] = numbers.choice(LENGTHS)
        if numbers.random() < 0.1:
            headers["Content-Encoding"] = numbers.choice(("gzip", "deflate", "br", "gzip, gzip"))
        answer = self._session.request(
            numbers.choice((*["POST"] * 8, "GET", "PUT")),
            self._server.url + numbers.choice(PATHS),
            data=self._changed(BODIES),
            headers={name: value.encode("latin-1") for name, value in headers.items()},
            timeout=_SECONDS,
        )
        assert answer.headers["Content-Type"] != "application/json" or answer.text.isprintable()
        return "HTTP", answer.status_code

    def _by_grpc(self) -> tuple[str, Any]:
        name, body = self._numbers.choice(CALLS), self._changed([*self._messages, *BODIES])
        path = f"/inference.GRPCInferenceService/{name}"
        try:
            if name == "ModelStreamInfer":
                answers = self._channel.stream_stream(path)(iter([body]), timeout=_SECONDS)
                assert len(list(answers)) == 1
            else:
                self._channel.unary_unary(path)(body, timeout=_SECONDS)
        except grpc.RpcError as error:
            return "gRPC", error.code().name
        return "gRPC", "OK"

    def _by_socket(self) -> tuple[str, Any]:
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=_SECONDS) as connection:
            received = b""
            try:
                connection.sendall(self._changed(HEADS))
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(1 << 16):
                    received += data
            except ConnectionError:
                pass  # closed before all was sent or read
        return "broken HTTP", int(received.split()[1]) if received.startswith(b"HTTP/1.1 ") else "closed"


def _infer_requests() -> list[Any]:
    """Return valid ModelInferRequests, and one with pixels of the wrong number."""
    infer = message("inference", "ModelInferRequest")
    image = encoded(size=(9, 9))
    by_name = {"name": "image_bytes", "datatype": "BYTES", "shape": [1]}
    outputs = [{"name": "global_pool"}]
    floats = {"name": "images", "datatype": "FP32", "shape": [1, 64, 64, 3]}
    raw = len(image).to_bytes(4, "little") + image
    return [
        infer(model_name=MODEL, inputs=[by_name], outputs=outputs, raw_input_contents=[raw]),
        infer(model_name=MODEL, inputs=[by_name | {"contents": {"bytes_contents": [image]}}], outputs=outputs),
        infer(model_name=MODEL, inputs=[floats], raw_input_contents=[np.zeros(12288, "<f4").tobytes()]),
        infer(model_name=MODEL, inputs=[floats | {"contents": {"fp32_contents": [0.5]}}]),
    ]
