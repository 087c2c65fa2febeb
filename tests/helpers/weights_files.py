"""Writers of weights files for tests, sound ones and ones whose sizes and places are wrong."""

import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pnasnet.support.crc import masked_crc32c
from pnasnet.weights.sstable import MAGIC

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"

_DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(index: int, value: int) -> bytes:
    return varint(index << 3) + varint(value % 2**64)


def fixed32(index: int, value: int) -> bytes:
    return varint(index << 3 | 5) + value.to_bytes(4, "little")


def chunk(index: int, value: bytes) -> bytes:
    return varint(index << 3 | 2) + varint(len(value)) + value


@dataclass
class Tensor:
    """A tensor of a checkpoint; the index claims the other fields, if given, instead of the truth."""

    value: npt.NDArray[np.generic]
    dtype: int | None = None
    shape: tuple[int, ...] | None = None
    shard: int = 0
    size: int | None = None
    offset: int | None = None
    more: bytes = field(default=b"")

    def entry(self, offset: int) -> bytes:
        dtype = self.dtype or _DTYPES[str(self.value.dtype)]
        shape = self.value.shape if self.shape is None else self.shape
        dims = b"".join(chunk(2, number(1, size)) for size in shape)
        size = self.value.nbytes if self.size is None else self.size
        where = number(3, self.shard) + number(4, offset if self.offset is None else self.offset) + number(5, size)
        return number(1, dtype) + chunk(2, dims) + where + fixed32(6, masked_crc32c(self.value.tobytes())) + self.more


def block(entries: list[tuple[int, bytes, bytes]], compression: int = 0) -> bytes:
    """Return a table's block of (bytes shared with the key before, the rest of the key, value), with its trailer."""
    body = b"".join(varint(s) + varint(len(k)) + varint(len(v)) + k + v for s, k, v in entries)
    body += (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes([compression])
    return body + masked_crc32c(body).to_bytes(4, "little")


def table(blocks: list[bytes], handles: list[tuple[int, int]] | None = None) -> bytes:
    """Return a table of the data blocks; it claims `handles`, if given, instead of their places."""
    data, found = b"", []
    for content in blocks:
        found.append((len(data), len(content) - 5))
        data += content
    index = block([(0, b"~", varint(offset) + varint(size)) for offset, size in handles or found])
    empty = block([])
    footer = varint(len(data)) + varint(len(empty) - 5)
    footer += varint(len(data) + len(empty)) + varint(len(index) - 5)
    return data + empty + index + footer.ljust(40, b"\0") + MAGIC


def write_checkpoint(
    prefix: Path, tensors: Mapping[str, Tensor | npt.NDArray[np.generic]], *, shards: int = 1, header: bytes = b""
) -> Path:
    """Write a TensorFlow V2 checkpoint, with each tensor in its shard."""
    data = [b""] * shards
    entries = [(0, b"", number(1, shards) + header)]
    for name, value in sorted(tensors.items(), key=lambda item: item[0].encode()):
        tensor = value if isinstance(value, Tensor) else Tensor(value)
        place = min(tensor.shard, shards - 1)
        entries.append((0, name.encode(), tensor.entry(len(data[place]))))
        data[place] += tensor.value.tobytes()
    prefix.with_name(f"{prefix.name}.index").write_bytes(table([block([entry]) for entry in entries]))
    for shard, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    return prefix


def flip(path: Path, position: int) -> Path:
    """Invert one byte of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)
    return path


def one_line(error: BaseException) -> str:
    """Return the message, which must be one line."""
    text = str(error)
    assert text
    assert "\n" not in text
    return text


@contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 4 KiB: writing more fails as on a full disk.

    Use it for the failing call alone: the limit holds for the process, and the test runner writes a log.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
