"""Writes a TensorFlow V2 checkpoint with an object graph and no variables.

Sources: LevelDB's doc/table_format.md; TensorFlow's core/util/tensor_bundle/tensor_bundle.cc.
"""

from pathlib import Path

from ..support.crc import masked_crc32c
from ..support.files import replacing
from ..support.protobuf import Message, varint

_NAME = b"_CHECKPOINTABLE_OBJECT_GRAPH"
_STRING = 7  # of types.proto
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 40
_TRAILER = 5  # after each block: its compression and its checksum


def write_object_graph(prefix: Path, graph: bytes) -> None:
    """Write `PREFIX.index` and `PREFIX.data-00000-of-00001` for a TrackableObjectGraph. Raises `OutputError`."""
    length = len(graph).to_bytes(4, "little")
    checked = masked_crc32c(length).to_bytes(4, "little") + graph
    data = varint(len(graph)) + checked
    header = Message().number(1, 1).data(3, Message().number(1, 1))
    entry = Message().number(1, _STRING).data(2, Message()).number(5, len(data))
    entry.fixed32(6, masked_crc32c(checked, before=length))
    _write(prefix.with_name(f"{prefix.name}.data-00000-of-00001"), data)
    _write(prefix.with_name(f"{prefix.name}.index"), _table([(b"", bytes(header)), (_NAME, bytes(entry))]))


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _table(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return a table of one block."""
    data, metaindex = _block(entries), _block([])
    index = _block([(entries[-1][0], _handle(0, data))])
    footer = _handle(len(data), metaindex) + _handle(len(data) + len(metaindex), index)
    return data + metaindex + index + footer.ljust(_FOOTER, b"\0") + _MAGIC


def _handle(offset: int, block: bytes) -> bytes:
    return varint(offset) + varint(len(block) - _TRAILER)


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return an uncompressed block, in which no key is abbreviated, with its checksum."""
    body = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    body += (0).to_bytes(4, "little") + (1).to_bytes(4, "little")  # one restart, at the beginning
    body += b"\0"
    return body + masked_crc32c(body).to_bytes(4, "little")
