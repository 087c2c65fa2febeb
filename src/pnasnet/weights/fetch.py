"""Finds published weights on this machine, or downloads them; never uses others in their place."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from ..architecture.zoo import PublishedWeights
from ..errors import CorruptWeightsError, WeightsNotFoundError
from ..support.contexts import contextmanager
from ..support.paths import cache_dir
from ..support.urls import redact
from . import hub
from .archive import unpack
from .download import DownloadError, download, writing
from .files import reading, sha256

_HUB = "hf:"
_TAR = ".tar.gz"
log = logging.getLogger(__name__)


def fetch(record: PublishedWeights, *, offline: bool | None = None, progress: bool = True) -> Path:
    """Return the path of published weights on this machine; download them if necessary.

    The search starts in `cache_dir()/weights`, which you may fill by hand (docs/downloads.md), and for weights on
    Hugging Face in its own cache. If several processes need the same file, one downloads it and the others wait.

    Args:
        record: the set of weights, from the zoo or your own.
        offline: whether to download nothing; None reads the environment variable `PNASNET_OFFLINE`.
        progress: whether to show the download on standard error, if that is a terminal.

    Returns:
        A path for `open_weights`: a file, or for a `.tar.gz` the folder with the TensorFlow checkpoint from it.

    Raises:
        WeightsNotFoundError: the weights are not on this machine and cannot be downloaded. The message names the file
            and where to put it.
        CorruptWeightsError: the file is damaged, or not the published one. It is renamed, so that the next call
            downloads it again.
        OutputError: the cache cannot be written. The part received so far is kept.

    Example:
        >>> from pnasnet.architecture.zoo import NETWORKS
        >>> from pnasnet.weights.fetch import fetch
        >>> (record,) = NETWORKS["pnasnet_tiny"].weights
        >>> fetch(record).name, record.licence
        ('pnasnet_tiny.safetensors', 'Apache-2.0')
    """
    if record.shipped:
        return _shipped(record)
    found = _find(record)
    if found and not found.name.endswith(_TAR):  # nothing is written: the cache may be read-only
        return _ready(record, found)
    if not found and (is_offline() if offline is None else offline):
        by = "PNASNET_OFFLINE" if offline is None else "offline=True"
        raise _not_found(record, f"downloads are disabled by {by}")
    with _lock(_cache_path(record)):
        try:
            # Another process may have downloaded them meanwhile.
            return _ready(record, _find(record) or _download(record, progress))
        except DownloadError as error:
            raise _not_found(record, str(error)) from error


def available(record: PublishedWeights) -> Literal["shipped", "cached", "downloadable"]:
    """Return whether the weights are in the package, on this machine, or on a server. Uses no network."""
    if record.shipped:
        return "shipped"
    return "cached" if _find(record) else "downloadable"


def is_offline() -> bool:
    """Return whether `PNASNET_OFFLINE` forbids downloads."""
    return os.environ.get("PNASNET_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def _shipped(record: PublishedWeights) -> Path:
    path = Path(str(files("pnasnet"))) / "data" / record.location.partition(":")[2]
    if not path.is_file():
        raise WeightsNotFoundError(f"{path}, a file of this package, is missing: install pnasnet again")
    return path


def _cache_path(record: PublishedWeights) -> Path:
    """Return the path of the file in the cache, whether it exists or not."""
    if record.location.startswith(_HUB):
        return cache_dir() / "weights" / record.location.removeprefix(_HUB)
    return cache_dir() / "weights" / Path(urlsplit(record.location).path).name


def _hub_file(record: PublishedWeights) -> tuple[str, str, str | None]:
    owner, repository, name = record.location.removeprefix(_HUB).split("/", 2)
    return f"{owner}/{repository}", name, record.revision


def _find(record: PublishedWeights) -> Path | None:
    """Return the path of the unpacked folder, or else of the file, if one of them is on this machine."""
    file = _cache_path(record)
    for path in (_unpacked(file), file):
        if path.exists():
            return path
    return hub.cached(*_hub_file(record)) if record.location.startswith(_HUB) else None


def _unpacked(archive: Path) -> Path:
    return archive.with_name(archive.name.removesuffix(_TAR))


def _download(record: PublishedWeights, progress: bool) -> Path:
    if record.location.startswith(_HUB):
        return hub.download(*_hub_file(record), progress=progress)
    file = _cache_path(record)
    download(record.location, file, progress=progress)
    if not file.name.endswith(_TAR):
        return file
    folder = _ready(record, file)
    with writing(file):
        file.unlink()  # the folder has the same content
    return folder


def _ready(record: PublishedWeights, found: Path) -> Path:
    """Check the file, unpack an archive, and return a path for `open_weights`. A damaged file is renamed."""
    try:
        if found.is_dir():
            return _checkpoint_folder(found, found)
        if record.sha256_head and not sha256((found,)).startswith(record.sha256_head):
            raise CorruptWeightsError(
                f"{found} is damaged or another file: its SHA-256 does not begin with {record.sha256_head}"
            )
        return _unpack(found) if found.name.endswith(_TAR) else found
    except CorruptWeightsError as error:
        raise CorruptWeightsError(f"{error}; {_set_aside(found)}") from error


def _unpack(archive: Path) -> Path:
    """Unpack an archive beside itself, and return the folder. The folder appears whole or not at all."""
    folder = _unpacked(archive)
    unpacked = unpack(archive)
    try:
        checkpoint = _checkpoint_folder(unpacked, archive)
        with writing(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as staging:
            new = Path(staging, "new")
            new.mkdir()  # with the usual permissions, unlike a temporary folder
            for path in checkpoint.iterdir():
                shutil.move(path, new / path.name)  # possibly from another disk
            new.replace(folder)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return folder


def _checkpoint_folder(folder: Path, source: Path) -> Path:
    """Return the folder of a TensorFlow checkpoint: `folder` or one below it."""
    with reading(folder):
        next(folder.iterdir(), None)  # rglob skips folders without read permission
    if index := min(folder.rglob("*.index"), default=None):
        return index.parent
    raise CorruptWeightsError(f"{source} holds no TensorFlow checkpoint (no .index file)")


def _set_aside(file: Path) -> str:
    """Rename a damaged file, so that the next call downloads it again; return the advice for the error."""
    aside = file.with_name(f"{file.name}.damaged")
    with suppress(OSError):
        file.replace(aside)
        return f"it was renamed to {aside.name}; try again"
    return "remove it and try again"


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Hold the lock of a file in the cache within the block; wait for it if necessary."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_name(f"{file.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process is fetching %s: waiting for it", file.name)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _not_found(record: PublishedWeights, reason: str) -> WeightsNotFoundError:
    address = record.location
    if address.startswith(_HUB):
        repository, path, revision = _hub_file(record)
        address = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{path}"
    check = f" (its SHA-256 begins with {record.sha256_head})" if record.sha256_head else ""
    return WeightsNotFoundError(
        f"the weights {record.id} are not on this machine: {reason}; download {redact(address)}{check} "
        f"to {_cache_path(record)}, or pass weights=FILE"
    )
