"""The Open Inference Protocol and health checks over gRPC, with tritonclient."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import descriptor_pb2
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

import pnasnet.serve
from pnasnet import Module
from pnasnet.images import preprocess
from pnasnet.serve import ServerLimits, Service
from pnasnet.serve.auth import ApiKeys
from pnasnet.serve.grpc_messages import message

from tests.helpers.serving import Live, encoded, fake_models, live

NAME = "pnasnet_tiny"
PROTOCOLS = Path(pnasnet.serve.__file__).parent / "protocols"


@pytest.fixture
def client(server: Live) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client


def strings(images: list[bytes]) -> triton.InferInput:
    given = triton.InferInput("image_bytes", [len(images)], "BYTES")
    given.set_data_from_numpy(np.array(images, np.object_))
    return given


def test_infer(client: Any, module: Module) -> None:
    images = [encoded(seed) for seed in range(3)]
    found = client.infer(NAME, [strings(images)], request_id="seven")
    assert found.get_response().id == "seven"
    assert (found.as_numpy("global_pool") == module.embed(images)).all()
    inputs = np.stack([preprocess(image, module.image_size, module.preset) for image in images])
    assert (found.as_numpy("Logits") == module(inputs, signature="image_classification")).all()
    given = triton.InferInput("images", inputs.shape, "FP32")
    given.set_data_from_numpy(inputs)
    found = client.infer(NAME, [given], outputs=[triton.InferRequestedOutput("global_pool")])
    assert (found.as_numpy("global_pool") == module.embed(images)).all()


def test_typed_contents(server: Live, module: Module) -> None:
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [encoded()]}}
    inputs = preprocess(encoded(), module.image_size, module.preset)
    pixels = {"name": "images", "datatype": "FP32", "shape": [1, *inputs.shape]}
    for tensor in (given, {**pixels, "contents": {"fp32_contents": inputs.ravel()}}):
        request = message("inference", "ModelInferRequest")(
            model_name=NAME, inputs=[tensor], outputs=[{"name": "global_pool"}]
        )
        raw = call(server, "inference.GRPCInferenceService/ModelInfer", request.SerializeToString())
        answer = message("inference", "ModelInferResponse").FromString(raw)
        assert (np.frombuffer(answer.raw_output_contents[0], "<f4") == module.embed([encoded()])[0]).all()


def test_descriptions(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME, "1")
    assert client.get_server_metadata().name == "pnasnet"
    found = client.get_model_metadata(NAME, as_json=True)
    assert found["inputs"][1] == {"name": "images", "datatype": "FP32", "shape": ["-1", "32", "32", "3"]}
    assert [output["name"] for output in found["outputs"]] == ["global_pool", "Logits", "Predictions"]


@pytest.mark.parametrize(
    ("name", "images", "code", "error"),
    [
        ("other", [encoded()], "NOT_FOUND", "the only one is pnasnet_tiny"),
        (NAME, [encoded(), b"no image"], "INVALID_ARGUMENT", "image 2 of 2: not an image"),
        (NAME, [encoded()] * 65, "INVALID_ARGUMENT", "at most 64 at a time"),
    ],
)
def test_errors(client: Any, name: str, images: list[bytes], code: str, error: str) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer(name, [strings(images)])
    assert raised.value.status() == f"StatusCode.{code}"
    assert error in raised.value.message()


def test_bytes_that_are_no_message(server: Live) -> None:
    for path in ("inference.GRPCInferenceService/ModelInfer", "grpc.health.v1.Health/Check"):
        with pytest.raises(grpc.RpcError) as raised:
            call(server, path, b"\xff\xff\xff")
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health(server: Live) -> None:
    kinds = [message("grpc.health.v1", f"HealthCheck{kind}") for kind in ("Request", "Response")]
    for name in ("", "inference.GRPCInferenceService"):
        raw = call(server, "grpc.health.v1.Health/Check", kinds[0](service=name).SerializeToString())
        assert kinds[1].FromString(raw).status == 1
    with pytest.raises(grpc.RpcError) as raised:
        call(server, "grpc.health.v1.Health/Check", kinds[0](service="other").SerializeToString())
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_is_watched_until_the_end() -> None:
    response = message("grpc.health.v1", "HealthCheckResponse")
    service = Service(fake_models())
    with live(service) as server, grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        watched = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=30)
        assert response.FromString(next(watched)).status == 1
        service.drain()
        assert response.FromString(next(watched)).status == 2
        assert list(watched) == []
        with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
            assert not client.is_server_ready()
            with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
                client.infer("tiny", [strings([encoded()])])


def test_keys_and_limits() -> None:
    service = Service(fake_models(), ServerLimits(body=20_000), keys=ApiKeys(["secret"]))
    with live(service) as server, triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            client.infer("tiny", [strings([encoded()])])
        key = {"authorization": "Bearer secret"}
        assert client.infer("tiny", [strings([encoded()])], headers=key).as_numpy("global_pool").shape == (1, 160)
        with pytest.raises(InferenceServerException, match="RESOURCE_EXHAUSTED"):
            client.infer("tiny", [strings([bytes(30_000)])], headers=key, compression_algorithm="gzip")


def call(server: Live, path: str, request: bytes) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        answer: bytes = channel.unary_unary(f"/{path}")(request, timeout=30)
        return answer


class TestDescriptors:
    def test_they_are_compiled_from_the_files_beside_them(self, tmp_path: Path) -> None:
        out = tmp_path / "grpc.binpb"
        files = ["inference.proto", "health.proto"]
        compile_ = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOCOLS}", f"--descriptor_set_out={out}", *files]
        subprocess.run(compile_, check=True, timeout=60)
        assert out.read_bytes() == (PROTOCOLS / "grpc.binpb").read_bytes()

    def test_they_are_those_of_the_clients(self) -> None:
        ours = descriptor_pb2.FileDescriptorSet.FromString((PROTOCOLS / "grpc.binpb").read_bytes()).file[0]
        theirs = descriptor_pb2.FileDescriptorProto()
        service_pb2.DESCRIPTOR.CopyToProto(theirs)
        known = {each.name: each for each in theirs.message_type}
        for each in ours.message_type:
            assert _fields(each) == _fields(known[each.name]), each.name


def _fields(given: Any) -> dict[str, Any]:
    own = {field.name: (field.number, field.type, field.label) for field in given.field}
    return own | {nested.name: _fields(nested) for nested in given.nested_type}
