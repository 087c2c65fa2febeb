import pytest

from pnasnet.errors import CorruptWeightsError
from pnasnet.weights import sstable
from pnasnet.weights.sstable import MAGIC, read_table

from tests.helpers.weights_files import block, table, varint


def test_keys_are_built_from_the_prefix_shared_with_the_previous_one() -> None:
    data = table([block([(0, b"", b"h"), (0, b"cell_0/a", b"1"), (7, b"bc", b"2")]), block([(0, b"conv0", b"")])])
    assert read_table(data, "x.index") == {b"": b"h", b"cell_0/a": b"1", b"cell_0/bc": b"2", b"conv0": b""}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not the index"),
        (b"\0" * 100, "not the index"),
        (b"\xff" * 40 + MAGIC, "64 bits"),
        ((varint(0) * 2 + varint(2**60) * 2).ljust(40, b"\0") + MAGIC, "beyond its end"),
        (table([block([(0, b"b", b"")]), block([(0, b"a", b"")])]), "not in order"),
        (table([block([(0, b"a", b""), (0, b"a", b"")])]), "not in order"),
        (table([block([(0, b"a", b"")])], handles=[(0, 12)] * 2), "overlap"),
        (table([block([(5, b"a", b"")])]), "beyond its block"),
        (table([block([(0, b"a" * (sstable.MAX_KEY + 1), b"")])]), "beyond its block"),
        (table([block([(0, b"a", b"")], compression=1)]), "compressed"),
        (bytes(sstable.MAX_BYTES + 1), "more than the limit of 16,777,216 for an index"),
    ],
)
def test_a_dishonest_table_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(CorruptWeightsError, match=rf"^x\.index .*{why}"):
        read_table(data, "x.index")


def test_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sstable, "MAX_ENTRIES", 2)
    with pytest.raises(CorruptWeightsError, match="more than 2 entries"):
        read_table(table([block([(0, b"a", b""), (0, b"b", b""), (0, b"c", b"")])]), "x.index")


def test_names_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may repeat the one before and add a letter, in a few bytes."""
    data = table([block([(0, b"a" * 100, b""), *((100 + n, b"a", b"") for n in range(9))])])
    monkeypatch.setattr(sstable, "MAX_BYTES", 1000)
    with pytest.raises(CorruptWeightsError, match="names of more than 1000 bytes"):
        read_table(data, "x.index")


def test_every_flipped_byte_of_a_block_is_noticed() -> None:
    content = block([(0, b"a", b"value"), (0, b"b", b"")])
    good = table([content])
    for position in range(len(content)):
        bad = bytearray(good)
        bad[position] ^= 0x10
        with pytest.raises(CorruptWeightsError, match="checksum"):
            read_table(bytes(bad), "x.index")
