"""LevelDB's sorted string table, the format of a TensorFlow checkpoint's `.index`.

Source: LevelDB's doc/table_format.md; TensorFlow writes the same footer and magic number, and no filter block.
"""

from collections.abc import Iterator

from ..errors import CorruptWeightsError
from ..support.crc import masked_crc32c
from .wire import read_varint

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last eight bytes of every table."""

MAX_BYTES = 16 * 2**20
"""Limit of a table; a large network with optimizer slots has well below 1 MiB."""
MAX_ENTRIES = 100_000
MAX_KEY = 4096

_FOOTER = 48
_TRAILER = 5  # after each block: its compression (1 byte) and the masked CRC-32C of block and compression


def read_table(data: bytes | memoryview, origin: str) -> dict[bytes, bytes]:
    """Return the table's entries in the order of their keys. Every size is checked before anything is copied.

    Raises `CorruptWeightsError`, which names `origin`, for bytes that are not a table, wrong checksums, and sizes above
    the limits of this module.
    """
    if len(data) > MAX_BYTES:
        raise CorruptWeightsError(
            f"{origin} has {len(data):,} bytes, more than the limit of {MAX_BYTES:,} for an index"
        )
    if len(data) < _FOOTER or bytes(data[-len(MAGIC) :]) != MAGIC:
        raise CorruptWeightsError(f"{origin} is not the index of a TensorFlow V2 checkpoint, or is cut short")
    view = memoryview(data)
    footer = view[-_FOOTER:]
    _, position = _read_handle(footer, 0, origin)  # of the metaindex, which TensorFlow leaves empty
    index, _ = _read_handle(footer, position, origin)
    table: dict[bytes, bytes] = {}
    previous_key, previous_end, length = b"", 0, 0
    for _, handle in _entries(_read_block(view, index, origin), origin):
        block, _ = _read_handle(memoryview(handle), 0, origin)
        # Blocks that overlap would let a small file cost unbounded time.
        if block[0] < previous_end:
            raise CorruptWeightsError(f"{origin} is damaged: its blocks overlap")
        previous_end = sum(block)
        for key, value in _entries(_read_block(view, block, origin), origin):
            if table and key <= previous_key:
                raise CorruptWeightsError(f"{origin} is damaged: its names are not in order")
            if len(table) == MAX_ENTRIES:
                raise CorruptWeightsError(f"{origin} has more than {MAX_ENTRIES} entries")
            length += len(key)
            if length > MAX_BYTES:  # each is stored as its difference from the previous one
                raise CorruptWeightsError(f"{origin} has names of more than {MAX_BYTES} bytes")
            table[key] = value
            previous_key = key
    return table


def _read_handle(view: memoryview, position: int, origin: str) -> tuple[tuple[int, int], int]:
    """Return a block's (offset, size), and the position after them."""
    offset, position = read_varint(view, position, origin)
    size, position = read_varint(view, position, origin)
    return (offset, size), position


def _read_block(view: memoryview, handle: tuple[int, int], origin: str) -> memoryview:
    offset, size = handle
    end = offset + size + _TRAILER
    if end > len(view):
        raise CorruptWeightsError(f"{origin} is damaged: a block goes beyond its end")
    stored = int.from_bytes(view[end - 4 : end], "little")
    if masked_crc32c(bytes(view[offset : end - 4])) != stored:
        raise CorruptWeightsError(f"{origin} is damaged: a block's checksum is wrong; download it again")
    if view[offset + size]:
        raise CorruptWeightsError(f"{origin} is compressed, which TensorFlow's checkpoints are not")
    return view[offset : offset + size]


def _entries(block: memoryview, origin: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; each key is stored as its difference from the previous one."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise CorruptWeightsError(f"{origin} is damaged: a block is too short for its restarts")
    key, position = b"", 0
    while position < end:
        shared, position = read_varint(block, position, origin)
        unshared, position = read_varint(block, position, origin)
        size, position = read_varint(block, position, origin)
        if shared > len(key) or shared + unshared > MAX_KEY or position + unshared + size > end:
            raise CorruptWeightsError(f"{origin} is damaged: an entry goes beyond its block")
        key = key[:shared] + bytes(block[position : position + unshared])
        position += unshared + size
        yield key, bytes(block[position - size : position])
