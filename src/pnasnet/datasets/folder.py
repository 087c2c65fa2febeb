"""Opens class folders, as in `data/cat/*.jpg`, and finds folders of splits."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..images import is_image_path
from ..pictures.walking import folder_id, list_folder, walk
from .labelled import LabelledImages
from .splits import MEANING


def open_folder(folder: str) -> LabelledImages:
    """Return the images in the class folders of `folder`, at any depth, sorted by path and named by it.

    Hidden files and folders are skipped, and so are images beside the class folders. Links are followed, except those
    to `folder` and to other classes; each folder is read once.

    Raises:
        InputError: there are no class folders, two are the same folder, or one has no images or cannot be listed.
    """
    class_folders = subfolders(folder)
    if not class_folders:
        raise InputError(f"{folder!r} contains no class folders: put the images of each class into a folder of its own")
    first: dict[tuple[int, int], str] = {folder_id(folder): folder}
    for path in class_folders:
        other = first.setdefault(folder_id(path), path)
        if other != path:
            raise InputError(f"{path!r} and {other!r} are the same folder: remove the link")
    seen, paths, labels = set(first), list[str](), list[int]()
    for label, path in enumerate(class_folders):
        found = [image for entry in list_folder(path) for image in walk(entry, seen)]
        if not found:
            raise InputError(f"{path!r} contains no images: add some, or remove the folder")
        paths += found
        labels += [label] * len(found)
    classes = tuple(Path(path).name for path in class_folders)
    return LabelledImages(paths, np.array(labels, np.int64), classes, paths.__getitem__)


def split_folders(folder: str) -> dict[str, str]:
    """Return the folders of splits in `folder` by name; empty if there are none.

    Folders named train, val and so on are splits, not classes, if there are at least two of them or no other folders,
    and at least one contains class folders or bulk files (Parquet, tar) instead of images.
    """
    existing = subfolders(folder)
    found = {Path(path).name: path for path in existing if Path(path).name in MEANING}
    enough = len(found) >= 2 or len(found) == len(existing)
    return found if enough and any(_is_dataset(path) for path in found.values()) else {}


def bulk_files(folder: str) -> list[str]:
    """Return the Parquet and tar files in `folder`, sorted by name."""
    return [path for path in list_folder(folder) if path.endswith((".parquet", ".tar")) and Path(path).is_file()]


def subfolders(folder: str) -> list[str]:
    """Return the folders in `folder` that are not hidden, sorted by name."""
    return [path for path in list_folder(folder) if Path(path).is_dir()]


def _is_dataset(folder: str) -> bool:
    if any(is_image_path(path) and not Path(path).is_dir() for path in list_folder(folder)):
        return False
    return bool(subfolders(folder) or bulk_files(folder))
