"""Weights on Hugging Face, through its client and cache, with our errors and without its log messages."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import CorruptWeightsError, OutputError
from ..support.contexts import contextmanager
from ..support.text import clean
from ..support.urls import redact_text
from .download import DownloadError
from .files import sha256

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_repository(name: str) -> bool:
    """Return whether a name can be that of a repository, `OWNER/NAME`. Uses no network."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def cached(repository: str, name: str, revision: str | None) -> Path | None:
    """Return the path of the file in Hugging Face's own cache, or None. Uses no network."""
    import huggingface_hub

    path = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def download(repository: str, name: str, revision: str | None, *, progress: bool) -> Path:
    """Download the file into Hugging Face's own cache (`HF_HOME`) and return its path there.

    `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_TOKEN` and the client's other settings apply. The client resumes a broken
    connection within this call, but not in the next one.

    Raises:
        DownloadError: the file cannot be downloaded.
        CorruptWeightsError: the downloaded file is not the published one; it is removed.
        OutputError: the file cannot be written.
    """
    import huggingface_hub

    try:
        with _quiet(progress):
            path = Path(
                huggingface_hub.hf_hub_download(
                    repository, name, revision=revision, endpoint=os.environ.get("HF_ENDPOINT")
                )
            )
    except Exception as error:  # of OSError, ValueError or httpx, depending on the client's version
        if isinstance(error, OSError) and error.errno and not isinstance(error, (ConnectionError, TimeoutError)):
            target = error.filename or huggingface_hub.constants.HF_HUB_CACHE
            raise OutputError(
                f"cannot write {target}: {error.strerror}; free some space, or set HF_HOME to another folder"
            ) from error
        raise DownloadError(_first_line(error.__cause__ or error)) from error
    _check(path)
    return path


def upload(
    folder: Path, repository: str, private: bool | None, revision: str | None, message: str, token: str | None
) -> str:
    """Commit the files of a folder to a repository, which is created if needed, and return the commit's URL.

    Raises `OutputError` for any failure.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        with _quiet(progress=True):
            api.create_repo(repository, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=repository, folder_path=folder, revision=revision, commit_message=message)
    except Exception as error:  # see `download`
        raise OutputError(
            f"cannot upload to {repository} on the Hugging Face Hub ({_first_line(error)}): check the name, the "
            "connection and the token (hf auth login, or HF_TOKEN)"
        ) from error
    return str(done.commit_url)


def _check(path: Path) -> None:
    """Check a large file against its SHA-256, which is its name in the cache; the client checks only the length."""
    blob = path.readlink() if path.is_symlink() else path
    if _SHA256.fullmatch(blob.name) and sha256((path,)) != blob.name:
        (path.parent / blob).unlink()
        path.unlink()
        raise CorruptWeightsError(f"{path} was damaged in the download and is removed: try again")


@contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, hide = get_verbosity(), not progress and not are_progress_bars_disabled()
    set_verbosity(logging.CRITICAL)
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return clean(redact_text(lines[0]))[:300] if lines else type(error).__name__
