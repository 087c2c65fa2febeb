"""Published weights by name: looked for on this machine, else downloaded, never replaced by others."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ..architecture.zoo import PublishedWeights
from ..errors import CorruptWeightsError, WeightsNotFoundError
from ..support.paths import cache_dir
from . import hub
from .archive import unpack
from .download import DownloadError, download, writing
from .files import reading, sha256

_HUB = "hf:"
_TAR = ".tar.gz"
_LOG = logging.getLogger(__name__)


def fetch(record: PublishedWeights, *, offline: bool | None = None, progress: bool = True) -> Path:
    """Return where the weights of `record` are on this machine, downloading them if need be.

    They are looked for in `cache_dir()/weights`, which may be filled by hand (docs/downloads.md says how); those of
    Hugging Face also in its own cache. Processes that want the same file at once download it once.

    Args:
        record: the set of weights, of the zoo or your own.
        offline: whether to keep off the network; None: as `PNASNET_OFFLINE` says.
        progress: whether to show the download on standard error, if that is a terminal.

    Returns:
        A file, or for a `.tar.gz` the folder with the TensorFlow checkpoint it held: fit for `open_weights`.

    Raises:
        WeightsNotFoundError: they are not here and cannot be downloaded; says how to hand them over.
        CorruptWeightsError: damaged, or not what was published; put aside, so that the next call starts anew.
        OutputError: the cache could not be written; what has been downloaded is kept.
    """
    if record.shipped:
        return _shipped(record)
    found = _find(record)
    if found and not found.name.endswith(_TAR):  # nothing to write: the cache may be read-only
        return _ready(record, found)
    if not found and (_is_offline() if offline is None else offline):
        raise _not_found(record, "PNASNET_OFFLINE or offline=True forbids downloading them")
    with _lock(_place(record)):
        try:
            # Looked for again, since another process may have been quicker.
            return _ready(record, _find(record) or _download(record, progress))
        except DownloadError as error:
            raise _not_found(record, str(error)) from error


def available(record: PublishedWeights) -> Literal["shipped", "cached", "downloadable"]:
    """Return how the weights of `record` are to be had, as far as can be told without network."""
    if record.shipped:
        return "shipped"
    return "cached" if _find(record) else "downloadable"


def _is_offline() -> bool:
    return os.environ.get("PNASNET_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def _shipped(record: PublishedWeights) -> Path:
    path = Path(str(files("pnasnet"))) / "data" / record.location.partition(":")[2]
    if not path.is_file():
        raise WeightsNotFoundError(f"{path}, a part of this package, is missing: install pnasnet again")
    return path


def _place(record: PublishedWeights) -> Path:
    """Return where in the cache the file is, downloaded or put there by hand."""
    name = record.location.removeprefix(_HUB) if record.location.startswith(_HUB) else Path(record.location).name
    return cache_dir() / "weights" / name


def _hub_file(record: PublishedWeights) -> tuple[str, str, str | None]:
    owner, repository, name = record.location.removeprefix(_HUB).split("/", 2)
    return f"{owner}/{repository}", name, record.revision


def _find(record: PublishedWeights) -> Path | None:
    """Return the unpacked folder, or the file, if one of them is on this machine."""
    place = _place(record)
    for path in (_unpacked(place), place):
        if path.exists():
            return path
    return hub.cached(*_hub_file(record)) if record.location.startswith(_HUB) else None


def _unpacked(place: Path) -> Path:
    return place.with_name(place.name.removesuffix(_TAR))


def _download(record: PublishedWeights, progress: bool) -> Path:
    if record.location.startswith(_HUB):
        return hub.download(*_hub_file(record), progress=progress)
    place = _place(record)
    download(record.location, place, progress=progress)
    if not place.name.endswith(_TAR):
        return place
    folder = _ready(record, place)
    with writing(place):
        place.unlink()  # the folder holds the same once more
    return folder


def _ready(record: PublishedWeights, found: Path) -> Path:
    """Return what `open_weights` can open, after the checks that are possible; put aside what fails them."""
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
    """Unpack `archive` beside itself, into a folder that appears complete or not at all, and return that folder."""
    folder = _unpacked(archive)
    unpacked = unpack(archive)
    try:
        place = _checkpoint_folder(unpacked, archive)
        with writing(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as staging:
            new = Path(staging, "new")
            new.mkdir()  # the temporary folder may be read by nobody else
            for path in place.iterdir():
                shutil.move(path, new / path.name)  # perhaps from another disk, so not at once
            new.replace(folder)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return folder


def _checkpoint_folder(folder: Path, source: Path) -> Path:
    """Return the folder, at `folder` or within it, that holds the TensorFlow checkpoint of `source`."""
    with reading(folder):
        next(folder.iterdir(), None)  # rglob passes over what must not be read
    if index := min(folder.rglob("*.index"), default=None):
        return index.parent
    raise CorruptWeightsError(f"{source} holds no TensorFlow checkpoint (no .index file)")


def _set_aside(file: Path) -> str:
    """Move a bad file out of the way of the next attempt, and say so."""
    aside = file.with_name(f"{file.name}.damaged")
    with suppress(OSError):
        file.replace(aside)
        return f"it was renamed to {aside.name}, try again"
    return "remove it and try again"


@contextmanager
def _lock(place: Path) -> Iterator[None]:
    """Keep other processes, and threads, from downloading or unpacking the same file meanwhile."""
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f"{place.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _LOG.warning("another process is fetching %s: waiting for it", place.name)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _not_found(record: PublishedWeights, reason: str) -> WeightsNotFoundError:
    name = record.location.rpartition("/")[2]
    if record.location.startswith(_HUB):
        repository, path, revision = _hub_file(record)
        address = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{path}"
    else:
        address = record.location
    check = f" (its SHA-256 begins with {record.sha256_head})" if record.sha256_head else ""
    return WeightsNotFoundError(
        f"the weights {record.id} are not on this machine: {reason}; get {name}{check} from {address} "
        f"and put it at {_place(record)}, or give it with --weights FILE"
    )
