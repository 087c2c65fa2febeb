"""Compiled models on disk: kept whole, checked when read, and never a reason to fail."""

import hashlib
import json
import logging
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import replacing

log = logging.getLogger(__name__)


class CacheEntry:
    """The place of one compiled model: `<key>-<CRC-32 of the content>.blob`."""

    def __init__(self, folder: Path, **identity: Any) -> None:
        """`identity` is everything that the content depends on, as plain values."""
        self._folder = folder
        self._key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]

    def find(self) -> Path | None:
        """Return the file, if there is one; its content is to be checked with `is_whole`."""
        return next(self._folder.glob(f"{self._key}-*.blob"), None)

    @staticmethod
    def is_whole(path: Path, content: NDArray[np.uint8]) -> bool:
        """Say whether `content` is what was written to `path`."""
        return path.stem.endswith(f"-{zlib.crc32(content.data):08x}")

    def write(self, content: memoryview) -> None:
        """Store the content; where that cannot be done, say so and go on."""
        path = self._folder / f"{self._key}-{zlib.crc32(content):08x}.blob"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            log.warning("cannot keep the compiled model in %s, so the next start is slower: %s", self._folder, error)

    def discard(self, path: Path, reason: object) -> None:
        """Remove a file that cannot be used."""
        log.warning("the compiled model %s is of no use and is made anew: %s", path, reason)
        with suppress(OSError):
            path.unlink()
