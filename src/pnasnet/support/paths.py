"""Where the package keeps files on this machine, and paths as text."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for what can be got or made again; it need not exist yet.

    It is `$PNASNET_CACHE` where that is set, else `pnasnet` in `$XDG_CACHE_HOME` or in `~/.cache`.
    """
    if own := os.environ.get("PNASNET_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pnasnet"


def utf8(path: str) -> str:
    r"""Return a path as rows have it: bytes that are not UTF-8 as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def spellings(path: str) -> list[str]:
    """Return the ways to write a path or URL, its own first: with `./` and `//` in it or not."""
    if "://" in path:
        return [path]
    plain = str(Path(path))  # not normpath: where a folder is a link, `..` leads elsewhere
    return [path, plain] if Path(path).is_absolute() else [path, plain, f"./{plain}"]
