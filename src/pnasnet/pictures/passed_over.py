"""Counts files that are skipped because of their names."""

from collections import Counter
from collections.abc import Callable
from pathlib import PurePosixPath

from ..images import format_of
from ..support.text import clean, counted
from .kinds import path_of

HEAD = 32
"""First bytes of a file that tell its format."""

_SAMPLES = 16
_SHOWN = 8


class PassedOver:
    """Counts skipped files in folders and archives by suffix.

    The first few of each suffix are looked into, so that images under other names are reported.
    """

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._formats: dict[str, str] = {}
        self._others: set[str] = set()  # suffixes with a file, among those looked into, that is no image
        self._example: dict[str, str] = {}

    def add(self, name: str, head: Callable[[], bytes] = bytes) -> None:
        """Count a file. `head` returns its first `HEAD` bytes, or none if they are not worth a request."""
        suffix = PurePosixPath(path_of(name)).suffix.lower()
        self._kinds[suffix] += 1
        self._example.setdefault(suffix, name)
        if self._kinds[suffix] <= _SAMPLES and not (suffix in self._formats and suffix in self._others):
            start = head()
            found = format_of(start)
            if found is None:
                self._others |= {suffix} if start else set()
            elif suffix not in self._formats:
                self._formats[suffix], self._example[suffix] = found.name, name

    def merge(self, other: "PassedOver") -> None:
        """Add the files that another counter has counted."""
        self._kinds += other._kinds
        self._example = {**other._example, **self._example} | {
            suffix: other._example[suffix] for suffix in other._formats.keys() - self._formats.keys()
        }
        self._formats = other._formats | self._formats
        self._others |= other._others

    @property
    def count(self) -> int:
        """The number of files."""
        return self._kinds.total()

    def __str__(self) -> str:
        """Return one line with the number of files of each kind, images first; empty without files."""
        if not self._kinds:
            return ""
        order = sorted(self._kinds, key=lambda suffix: (suffix not in self._formats, -self._kinds[suffix], suffix))
        kinds = [self._describe(suffix) for suffix in order[:_SHOWN]]
        rest = sum(self._kinds[suffix] for suffix in order[_SHOWN:])
        kinds += [f"{rest:,} others"] if rest else []
        return f"skipped {counted(self.count, 'file')} without the suffix of an image format: {', '.join(kinds)}"

    def _describe(self, suffix: str) -> str:
        name = f"{self._kinds[suffix]:,} {clean(suffix) if suffix else 'without suffix'}"
        found = self._formats.get(suffix)
        if not found:
            return name
        inside, which = (f"{found} inside some", "those") if suffix in self._others else (f"{found} inside", "them")
        return f"{name} ({inside}, such as {clean(self._example[suffix])}: rename {which})"
