"""The cache folder, and paths as text."""

import os
from collections.abc import Sequence
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for downloads and compiled models; it need not exist.

    It is `$PNASNET_CACHE` if set, else `pnasnet` in `$XDG_CACHE_HOME` or in `~/.cache`.
    """
    if own := os.environ.get("PNASNET_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pnasnet"


def spellings(path: str) -> list[str]:
    """Return equivalent spellings of a path, itself first: with and without `./` and `//`."""
    if "://" in path:
        return [path]
    plain = str(Path(path))  # not normpath: if a folder is a link, `..` leads elsewhere
    return [path, plain] if Path(path).is_absolute() else [path, plain, f"./{plain}"]


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder in which all paths lie, with a slash at its end; empty if there is none."""
    folders = [path[: path.rfind("/") + 1] for path in paths]
    shared = os.path.commonprefix([min(folders, default=""), max(folders, default="")])  # noqa: RUF071 - cut to whole names below
    return shared[: shared.rfind("/") + 1]


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether something exists at a path; False for text that cannot be one, such as a very long name."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises OSError for such text


def beside(path: Path, suffix: str) -> Path:
    """Return the path with a suffix added to its name; for `.`, the name is that of the working directory."""
    named = with_last_name(path)
    return named.with_name(f"{named.name}{suffix}")


def with_last_name(path: Path) -> Path:
    """Return the path, resolved if its last part is no name, as of `.` and `..`."""
    return path if path.name not in ("", "..") else path.resolve()
