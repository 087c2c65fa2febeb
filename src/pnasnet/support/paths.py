"""The cache folder, and paths as text."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for downloads and compiled models; it need not exist.

    It is `$PNASNET_CACHE` if set, else `pnasnet` in `$XDG_CACHE_HOME` or in `~/.cache`.
    """
    if own := os.environ.get("PNASNET_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pnasnet"


def utf8(path: str) -> str:
    r"""Return a path as rows store it, with bytes that are not UTF-8 as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def spellings(path: str) -> list[str]:
    """Return equivalent spellings of a path, itself first: with and without `./` and `//`."""
    if "://" in path:
        return [path]
    plain = str(Path(path))  # not normpath: if a folder is a link, `..` leads elsewhere
    return [path, plain] if Path(path).is_absolute() else [path, plain, f"./{plain}"]
