"""Opens ILSVRC-2012: Kaggle's folders, the flat folder of validation images, and the two original tars.

The other usual form, a folder for each WordNet id, is opened like all class folders.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..architecture.labels import wordnet_ids
from ..errors import InputError
from ..pictures.tar_members import PicturesInTars, find_members
from ..pictures.walking import list_folder
from ..support import files
from .labelled import LabelledImages

KAGGLE = "LOC_val_solution.csv"
SYNSETS = "imagenet_2012_validation_synset_labels.txt"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_GROUND_TRUTH_NAMES = (_GROUND_TRUTH, f"data/{_GROUND_TRUTH}", f"ILSVRC2012_devkit_t12/data/{_GROUND_TRUTH}")

_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.(?:jpe?g|png|webp)", re.IGNORECASE)
_INNER_TAR = re.compile(r"(n\d{8})\.tar")


def kaggle_splits(folder: str) -> dict[str, str]:
    """Return the folders train and val of Kaggle's layout below `folder`; empty for other layouts."""
    for below in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "."):
        top = Path(folder, below)
        if top.absolute().name == "CLS-LOC":
            found = {name: str(top / name) for name in ("train", "val") if (top / name).is_dir()}
            if found:  # test is left out, since its images have no labels
                return found
    return {}


def is_flat(folder: str) -> bool:
    """Return whether `folder` itself contains images of the validation set."""
    return any(_IMAGE.fullmatch(Path(path).name) for path in list_folder(folder))


def open_flat(folder: str) -> LabelledImages:
    """Return the validation images in `folder` itself, each named by its path.

    Their labels come from `LOC_val_solution.csv` or `imagenet_2012_validation_synset_labels.txt`, in the folder,
    beside it, or where Kaggle puts it. The classes are all 1000 WordNet ids, sorted.

    Raises:
        InputError: there is no file of labels, it is damaged, or it lacks an image.
    """
    paths = [path for path in list_folder(folder) if _IMAGE.fullmatch(Path(path).name)]
    here = Path(folder).absolute()
    above = list(here.parents)[: 4 if here.parent.name == "CLS-LOC" else 1]
    labels = _validation_labels(paths, [here, *above], folder)
    return LabelledImages(paths, labels, wordnet_ids(), paths.__getitem__)


def is_original_tar(path: str) -> bool:
    """Return whether a file has the name of one of the two original tars."""
    return Path(path).name.startswith(("ILSVRC2012_img_train", "ILSVRC2012_img_val"))


def open_tar(path: str) -> LabelledImages:
    """Return the images of `ILSVRC2012_img_train.tar` or `ILSVRC2012_img_val.tar`; nothing is unpacked.

    Each is named `tar/member` or `tar/n01440764.tar/member`. For val, labels and classes are those of `open_flat`, and
    the file of labels is beside the tar; for train, the classes are the WordNet ids in the tar, sorted.

    Raises:
        InputError: a tar is damaged or has other members; or as for `open_flat`.
    """
    if Path(path).name.startswith("ILSVRC2012_img_train"):
        return _open_train(path)
    members = sorted(find_members(path), key=lambda member: member.name)
    labels = _validation_labels([member.name for member in members], [Path(path).absolute().parent], path)
    names = [f"{path}/{member.name}" for member in members]
    return _in_tar(path, names, labels, wordnet_ids(), [(0, member.offset, member.size) for member in members])


def _open_train(path: str) -> LabelledImages:
    names, labels, places = list[str](), list[int](), list[tuple[int, int, int]]()
    classes = list[str]()
    for inner in sorted(find_members(path), key=lambda member: member.name):
        found = _INNER_TAR.fullmatch(inner.name.removeprefix("./"))
        if not found or found.group(1) in classes:
            raise InputError(f"{path!r} contains {inner.name!r}, not just one tar for each WordNet id: get it again")
        members = find_members(path, inner)
        if not members:
            raise InputError(f"{inner.name!r} in {path!r} contains no images: get it again")
        names += [f"{path}/{inner.name}/{member.name}" for member in members]
        labels += [len(classes)] * len(members)
        places += [(0, member.offset, member.size) for member in members]
        classes.append(found.group(1))
    return _in_tar(path, names, np.array(labels, np.int64), tuple(classes), places)


def _in_tar(
    path: str,
    names: list[str],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    places: list[tuple[int, int, int]],
) -> LabelledImages:
    if not names:
        raise InputError(f"{path!r} contains no images: get it again")
    return LabelledImages(names, labels, classes, PicturesInTars([path], np.array(places, np.int64), names))


def _validation_labels(images: Sequence[str], folders: Sequence[Path], where: str) -> npt.NDArray[np.int64]:
    """Return the class index of each image, int64 [N], from the first file of labels in `folders`."""
    file = _label_file(folders, where)
    with files.reading(repr(str(file)), "make it readable"):
        content = file.read_bytes()
    try:
        text = content.decode("utf-8")
        labels = _read_kaggle(text) if file.name == KAGGLE else _read_synsets(text)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{str(file)!r} is not a readable file of labels ({error}): get it again") from error
    index_of = {identity: index for index, identity in enumerate(wordnet_ids())}
    found = list[int]()
    for image in images:
        match = _IMAGE.fullmatch(Path(image).name)
        label = labels.get(int(match.group(1))) if match else None
        if label not in index_of:
            problem = "no label" if label is None else f"the unknown label {label!r}"
            raise InputError(f"{image!r} has {problem} in {str(file)!r}: get that file again, or remove the image")
        found.append(index_of[label])
    return np.array(found, np.int64)


def _label_file(folders: Sequence[Path], where: str) -> Path:
    for folder in folders:
        for name in (KAGGLE, SYNSETS):
            if (folder / name).is_file():
                return folder / name
    wanted = f"put {KAGGLE} (Kaggle) or {SYNSETS} (TensorFlow's models) beside it"
    for folder in folders:
        for name in _GROUND_TRUTH_NAMES:
            if (folder / name).is_file():
                raise InputError(
                    f"{str(folder / name)!r} cannot label {where!r}, because it numbers the classes by ILSVRC id "
                    f"instead of in the order of WordNet ids: {wanted}"
                )
    raise InputError(f"{where!r} has no labels: {wanted}")


def _read_kaggle(text: str) -> dict[int, str]:
    """Return labels by image from lines such as `ILSVRC2012_val_00048981,n03995372 85 1 499 272 `: id and box."""
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    labels = {int(row[0].rpartition("_")[2]): row[1].split()[0] for row in rows[1:] if len(row) == 2 and row[1].strip()}
    if len(labels) != len(rows) - 1:
        raise ValueError("a line is repeated, or is not the name of an image, a comma and a label")
    return labels


def _read_synsets(text: str) -> dict[int, str]:
    """Return labels by image from one WordNet id per line, beginning with image 1."""
    return dict(enumerate(text.split(), start=1))
