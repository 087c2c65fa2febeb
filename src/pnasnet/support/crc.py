"""Masked CRC-32C, the checksum in LevelDB's and TensorFlow's files."""

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_MASK_DELTA = 0xA282EAD8
"""Added after a rotation, because the CRC of data that contains CRCs is weak (LevelDB, crc32c.h)."""


def masked_crc32c(data: bytes | NDArray[np.generic], *, before: bytes = b"") -> int:
    """Return the masked CRC-32C of `before` and `data`; an array must be contiguous."""
    crc: int = google_crc32c.extend(google_crc32c.value(before), data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
