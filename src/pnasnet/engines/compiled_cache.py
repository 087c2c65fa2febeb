"""A cache of compiled models on disk: written whole or not at all, verified when read; failures are only logged."""

import hashlib
import json
import logging
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..support.files import replacing, writing

log = logging.getLogger(__name__)


class CacheEntry:
    """One compiled model, in the file `<key>-<CRC-32 of the content>.blob`.

    `identity` is everything on which the content depends, as values for JSON.
    """

    def __init__(self, folder: Path, **identity: Any) -> None:
        self._folder = folder
        self._key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]

    def read(self) -> NDArray[np.uint8] | None:
        """Return the content as a memory map; None if it is missing or damaged."""
        path = self._path()
        if path is None:
            return None
        try:
            # OpenVINO needs writable memory; a private mapping is writable without changing the file.
            content = np.memmap(path, np.uint8, "c")
        except (OSError, ValueError) as error:  # ValueError: an empty file
            self.discard(error)
            return None
        if path.stem.endswith(f"-{zlib.crc32(content.data):08x}"):
            return content
        self.discard("the file is damaged")
        return None

    def write(self, content: memoryview) -> None:
        """Store the content; on failure, log a warning and continue."""
        path = self._folder / f"{self._key}-{zlib.crc32(content):08x}.blob"
        try:
            with writing(self._folder, "the next start is slower"):
                self._folder.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    temporary.write_bytes(content)
        except OutputError as error:
            log.warning("the compiled model is not cached: %s", error)

    def discard(self, reason: object) -> None:
        """Remove an unusable file."""
        path = self._path()
        log.warning("the cached compiled model %s is unusable (%s): compiling again", path, reason)
        with suppress(OSError):
            if path:
                path.unlink()

    def _path(self) -> Path | None:
        return next(self._folder.glob(f"{self._key}-*.blob"), None)
