"""The checksum of LevelDB's files, against its published vectors."""

import numpy as np

from pnasnet.support.crc import masked_crc32c


def unmasked(masked: int) -> int:
    """Undo the mask as LevelDB's `crc32c::Unmask` does."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def test_known_checksums() -> None:
    """CRC-32C values of RFC 3720, B.4, and of LevelDB's crc32c_test.cc."""
    known = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E, b"123456789": 0xE3069283}
    for data, crc in known.items():
        masked = masked_crc32c(data)
        assert 0 <= masked < 2**32
        assert unmasked(masked) == crc


def test_data_in_two_pieces_and_in_arrays() -> None:
    whole = masked_crc32c(b"123456789")
    assert masked_crc32c(b"456789", before=b"123") == whole
    assert masked_crc32c(np.frombuffer(b"123456789", np.uint8)) == whole
