"""The messages of the gRPC services, in a separate descriptor pool.

A client library in the same process may have registered the same protocol in the default pool, where a second
registration fails. The descriptors are compiled from the .proto files beside them:
`protoc --descriptor_set_out=grpc.binpb *.proto`.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INFERENCE, HEALTH = "inference", "grpc.health.v1"


@cache
def _pool() -> Any:
    data = files("pnasnet").joinpath("serve", "protocols", "grpc.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


def message(package: str, name: str) -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{package}.{name}"))
