"""A folder for each class, as in `data/cat/*.jpg`, and such folders once more for each split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..images import is_image_path
from ..pictures.walking import folder_id, list_folder, walk
from .labelled import LabelledImages
from .splits import is_split


def open_folder(folder: str) -> LabelledImages:
    """Return the pictures in the class folders of `folder`, however deep, sorted by path; each is named by its path.

    Hidden names are passed over, and so are pictures that lie beside the class folders. Links are followed, but
    neither to `folder` nor to another class, and each folder is walked once.

    Raises:
        InputError: there are no class folders, two are the same folder, one holds no pictures or cannot be listed.
    """
    class_folders = _subfolders(folder)
    if not class_folders:
        raise InputError(f"{folder!r} holds no class folders: put the pictures of each class into a folder of its own")
    first: dict[tuple[int, int], str] = {folder_id(folder): folder}
    for path in class_folders:
        other = first.setdefault(folder_id(path), path)
        if other != path:
            raise InputError(f"{path!r} and {other!r} are the same folder: remove the link")
    seen, paths, labels = set(first), list[str](), list[int]()
    for label, path in enumerate(class_folders):
        pictures = [picture for entry in list_folder(path) for picture in walk(entry, seen)]
        if not pictures:
            raise InputError(f"{path!r} holds no pictures: add some, or remove the folder")
        paths += pictures
        labels += [label] * len(pictures)
    classes = tuple(Path(path).name for path in class_folders)
    return LabelledImages(paths, np.array(labels, np.int64), classes, paths.__getitem__)


def split_folders(folder: str) -> dict[str, str]:
    """Return the folders of splits in `folder` by name; none where train, val, … are classes, or are not there.

    They are splits where they are two or more, or all that there is, and one of them holds folders, or files of
    pictures in bulk, rather than pictures.
    """
    subfolders = _subfolders(folder)
    found = {Path(path).name: path for path in subfolders if is_split(Path(path).name)}
    enough = len(found) >= 2 or len(found) == len(subfolders)
    return found if enough and any(_is_dataset(path) for path in found.values()) else {}


def bulk_files(folder: str) -> list[str]:
    """Return the Parquet and tar files that lie in `folder`, sorted by name."""
    return [path for path in list_folder(folder) if path.endswith((".parquet", ".tar")) and Path(path).is_file()]


def has_subfolders(folder: str) -> bool:
    """Whether any folder lies in `folder` whose name does not begin with a dot."""
    return bool(_subfolders(folder))


def _subfolders(folder: str) -> Sequence[str]:
    return [path for path in list_folder(folder) if Path(path).is_dir()]


def _is_dataset(folder: str) -> bool:
    if any(is_image_path(path) and not Path(path).is_dir() for path in list_folder(folder)):
        return False
    return bool(_subfolders(folder) or bulk_files(folder))
