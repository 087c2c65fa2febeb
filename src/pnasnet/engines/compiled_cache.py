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

from ..support.files import replacing

log = logging.getLogger(__name__)


class CacheEntry:
    """The place of one compiled model: `<key>-<CRC-32 of the content>.blob`."""

    def __init__(self, folder: Path, **identity: Any) -> None:
        """`identity` is everything that the content depends on, as plain values."""
        self._folder = folder
        self._key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]

    def read(self) -> NDArray[np.uint8] | None:
        """Return the content, mapped into memory; None where there is none, or a damaged one."""
        path = self._path()
        if path is None:
            return None
        try:
            # OpenVINO wants memory that could be written to; a private mapping is, without changing the file.
            content = np.memmap(path, np.uint8, "c")
        except (OSError, ValueError) as error:  # ValueError: an empty file
            self.discard(error)
            return None
        if path.stem.endswith(f"-{zlib.crc32(content.data):08x}"):
            return content
        self.discard("the file is damaged")
        return None

    def write(self, content: memoryview) -> None:
        """Store the content; where that cannot be done, say so and go on."""
        path = self._folder / f"{self._key}-{zlib.crc32(content):08x}.blob"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            log.warning("cannot keep the compiled model in %s, so the next start is slower: %s", self._folder, error)

    def discard(self, reason: object) -> None:
        """Remove a content that cannot be used."""
        path = self._path()
        log.warning("the compiled model %s is of no use and is made anew: %s", path, reason)
        with suppress(OSError):
            if path:
                path.unlink()

    def _path(self) -> Path | None:
        return next(self._folder.glob(f"{self._key}-*.blob"), None)
