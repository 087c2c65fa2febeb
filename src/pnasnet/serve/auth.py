"""API keys, compared in constant time."""

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from ..errors import InputError
from ..support.files import reading

_MAX_BYTES = 1 << 20


class ApiKeys:
    """The accepted API keys. If there are none, every request is accepted."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @classmethod
    def from_file(cls, path: Path) -> "ApiKeys":
        """Read one key per line. Raises `InputError` if there is none, or the file cannot be read."""
        with reading(f"the API keys in {path}", "name a file with one key per line"), path.open("rb") as file:
            lines = file.read(_MAX_BYTES).decode("utf-8", "surrogateescape").split("\n")
        keys = [line.strip() for line in lines if line.strip()]
        if not keys:
            raise InputError(f"{path} holds no API key: write one per line")
        if any(not key.isascii() for key in keys):
            raise InputError(f"{path} holds a key with non-ASCII characters, which clients cannot send: use ASCII only")
        return cls(keys)

    @property
    def required(self) -> bool:
        """Whether a key is needed."""
        return bool(self._digests)

    def accept(self, authorization: str | None) -> bool:
        """Return whether the value of an `Authorization` header is `Bearer KEY` with one of the keys."""
        if not self.required:
            return True
        scheme, _, key = (authorization or "").partition(" ")
        given = sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found = [hmac.compare_digest(given, digest) for digest in self._digests]  # all of them, so the time is constant
        return scheme.lower() == "bearer" and any(found)
