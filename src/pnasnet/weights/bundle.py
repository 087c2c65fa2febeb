"""TensorFlow's V2 checkpoint (the "tensor bundle"), read without TensorFlow.

`PREFIX.index` is a sorted table from tensor names to their positions in the shards `PREFIX.data-00000-of-0000N`.
Nothing in these files is trusted before it is checked: every size is compared with the file, every checksum is
computed.

Source of the format: TensorFlow, core/util/tensor_bundle/tensor_bundle.h and core/protobuf/tensor_bundle.proto.
"""

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptWeightsError, WeightsError, WeightsNotFoundError
from ..support.crc import masked_crc32c
from .arrays import Array, ArrayShape
from .files import MappedFile
from .sstable import read_table
from .wire import ParsedMessage, read_varint

_HEADER = b""  # the key of the BundleHeaderProto
_FLOATS = {1: "<f4", 2: "<f8", 14: "<u2", 19: "<f2"}  # DataType of types.proto to what NumPy reads
_BFLOAT16, _STRING = 14, 7
_MAX_RANK = 8


@dataclass(frozen=True)
class _TensorEntry:
    """The position of a tensor: a BundleEntryProto whose sizes have not been checked."""

    dtype: int
    shape: ArrayShape
    shard: int
    offset: int
    size: int
    crc: int
    sliced: bool


class Bundle:
    """A TensorFlow V2 checkpoint, such as `folder/model.ckpt`, open for reading and memory-mapped.

    Raises:
        WeightsNotFoundError: the index or a shard is missing.
        CorruptWeightsError: the index is damaged, or claims a tensor that its shard cannot hold.
    """

    def __init__(self, prefix: Path) -> None:
        self.origin = str(prefix)
        index = prefix.with_name(f"{prefix.name}.index")
        table = read_table(MappedFile(index).bytes.data, str(index))
        shards = _read_header(table.pop(_HEADER, b""), str(index))
        self._entries = {_name(key, str(index)): _read_entry(value, str(index)) for key, value in table.items()}
        names = {n: f"{prefix.name}.data-{n:05d}-of-{shards:05d}" for n in {e.shard for e in self._entries.values()}}
        self._shards = {number: _map_shard(prefix.with_name(name)) for number, name in names.items()}
        self.files = (index, *(prefix.with_name(names[number]) for number in sorted(names)))
        """The index and the shards."""
        for name, entry in self._entries.items():
            self._check(name, entry)
        self.shapes: dict[str, ArrayShape] = {n: e.shape for n, e in self._entries.items() if e.dtype in _FLOATS}
        """Shape of each floating-point tensor, by name; no step counters or strings."""

    def read(self, name: str) -> Array:
        """Return a tensor of `shapes` as a new array. Raises `CorruptWeightsError` if its checksum is wrong."""
        entry = self._entries[name]
        array: NDArray[np.generic] = np.empty(entry.shape, _FLOATS[entry.dtype])
        # The copy is checked, not the file, which may change meanwhile.
        array.reshape(-1).view(np.uint8)[:] = self._bytes(entry)
        self._shards[entry.shard].release(entry.offset, entry.offset + entry.size)
        if masked_crc32c(array) != entry.crc:
            raise self._damaged(name)
        if entry.dtype == _BFLOAT16:  # the upper half of a float32
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(np.float32, copy=False)

    def read_string(self, name: str) -> bytes | None:
        """Return the scalar string tensor `name`; None if it does not exist.

        It is stored as its length (a varint), the masked CRC-32C of the length, and its bytes; the tensor's checksum
        covers the length as a fixed32 instead.
        """
        entry = self._entries.get(name)
        if entry is None or entry.dtype != _STRING or entry.shape:
            return None
        data = self._bytes(entry).tobytes()
        length, start = read_varint(memoryview(data), 0, f"{name} of {self.origin}")
        if start + 4 + length != len(data):
            raise self._damaged(name)
        if masked_crc32c(data[start:], before=length.to_bytes(4, "little")) != entry.crc:
            raise self._damaged(name)
        return data[start + 4 :]

    def _bytes(self, entry: _TensorEntry) -> NDArray[np.uint8]:
        return self._shards[entry.shard].bytes[entry.offset : entry.offset + entry.size]

    def _damaged(self, name: str) -> CorruptWeightsError:
        return CorruptWeightsError(f"{self.origin} is damaged: the checksum of {name} is wrong; download it again")

    def _check(self, name: str, entry: _TensorEntry) -> None:
        available = len(self._shards[entry.shard].bytes)
        if entry.offset + entry.size > available:
            raise CorruptWeightsError(
                f"{self.origin} is damaged or cut short: {name} claims bytes {entry.offset} to "
                f"{entry.offset + entry.size} of a shard that has {available}"
            )
        if entry.dtype not in _FLOATS:
            return
        if entry.sliced:
            raise WeightsError(f"{self.origin} holds {name} in slices: save it again without a partitioner")
        plausible = len(entry.shape) <= _MAX_RANK and min(entry.shape, default=1) >= 1
        if not plausible or prod(entry.shape) * np.dtype(_FLOATS[entry.dtype]).itemsize != entry.size:
            raise CorruptWeightsError(
                f"{self.origin} is damaged: {name} claims the shape {entry.shape[:_MAX_RANK]} in {entry.size} bytes"
            )


def _map_shard(path: Path) -> MappedFile:
    try:
        return MappedFile(path)
    except WeightsNotFoundError:
        raise WeightsNotFoundError(f"{path} is missing: put all shards of the checkpoint beside its index") from None


def _name(key: bytes, origin: str) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise CorruptWeightsError(f"{origin} is damaged: a tensor's name is not text") from None


def _read_header(data: bytes, origin: str) -> int:
    """Return the number of shards."""
    header = ParsedMessage(data, origin)
    if header.number(2):
        raise WeightsError(f"{origin} is from a big-endian machine, which is not supported")
    return header.number(1)


def _read_entry(data: bytes, origin: str) -> _TensorEntry:
    entry = ParsedMessage(data, origin)
    return _TensorEntry(
        dtype=entry.number(1),
        shape=tuple(dim.signed(1) for dim in entry.message(2).messages(2)),
        shard=entry.number(3),
        offset=entry.number(4),
        size=entry.number(5),
        crc=entry.number(6),
        sliced=bool(entry.chunks(7)),
    )


def checkpoint_prefix(path: Path) -> Path:
    """Return the prefix of the checkpoint that contains the file `path`; `path` itself if none does."""
    return path.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name))


def find_checkpoint(folder: Path) -> Path | None:
    """Return the prefix of the checkpoint in `folder`: the one that its file `checkpoint` names, or the only one.

    Raises WeightsError if there are several and `checkpoint` does not choose; None if there is none.
    """
    prefixes = sorted(path.with_suffix("") for path in folder.glob("*.index") if path.is_file())
    state = folder / "checkpoint"
    if state.is_file():
        # Training may have run elsewhere under an absolute path: only the last part of the name counts.
        text = MappedFile(state).bytes[: 2**16].tobytes().decode(errors="replace")
        latest = re.search(r'^model_checkpoint_path:\s*"(?:.*[/\\])?([^"/\\]+)"', text, re.MULTILINE)
        if latest and folder / latest[1] in prefixes:
            return folder / latest[1]
    if len(prefixes) > 1:
        names = ", ".join(prefix.name for prefix in prefixes[:20])
        raise WeightsError(f"{folder} holds several checkpoints: name one of them: {names}")
    return prefixes[0] if prefixes else None
