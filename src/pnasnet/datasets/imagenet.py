"""ILSVRC-2012 as people have it: Kaggle's folders, the flat validation folder, and the two original tars.

A folder for each WordNet id, the other common form, is like any folder for each class.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..architecture.labels import wordnet_ids
from ..errors import InputError
from ..pictures.tar_members import PicturesInTars, find_members
from ..pictures.walking import list_folder
from .labelled import LabelledImages

KAGGLE = "LOC_val_solution.csv"
SYNSETS = "imagenet_2012_validation_synset_labels.txt"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_GROUND_TRUTH_PLACES = (_GROUND_TRUTH, f"data/{_GROUND_TRUTH}", f"ILSVRC2012_devkit_t12/data/{_GROUND_TRUTH}")

_PICTURE = re.compile(r"ILSVRC2012_val_(\d{8})\.(?:jpe?g|png|webp)", re.IGNORECASE)
_INNER_TAR = re.compile(r"(n\d{8})\.tar")


def kaggle_splits(folder: str) -> dict[str, str]:
    """Return the folders of train and val in Kaggle's layout below `folder`; none where that is another."""
    for below in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "."):
        top = Path(folder, below)
        if top.absolute().name == "CLS-LOC":
            found = {name: str(top / name) for name in ("train", "val") if (top / name).is_dir()}
            if found:  # its test pictures have no labels
                return found
    return {}


def is_flat(folder: str) -> bool:
    """Whether pictures of the validation set lie in `folder` itself."""
    return any(_PICTURE.fullmatch(Path(path).name) for path in list_folder(folder))


def open_flat(folder: str) -> LabelledImages:
    """Return the validation pictures that lie in `folder` itself; each is named by its path.

    Their labels come from `LOC_val_solution.csv` or `imagenet_2012_validation_synset_labels.txt`, in the folder or
    beside it, or where Kaggle puts it. Classes are all 1000 WordNet ids, sorted.

    Raises:
        InputError: there is no such file, it is damaged, or lacks a picture.
    """
    paths = [path for path in list_folder(folder) if _PICTURE.fullmatch(Path(path).name)]
    here = Path(folder).absolute()
    above = list(here.parents)[: 4 if here.parent.name == "CLS-LOC" else 1]
    labels = _validation_labels(paths, [here, *above], folder)
    return LabelledImages(paths, labels, wordnet_ids(), paths.__getitem__)


def is_original_tar(path: str) -> bool:
    """Whether a file is called like one of the two original tars."""
    return Path(path).name.startswith(("ILSVRC2012_img_train", "ILSVRC2012_img_val"))


def open_tar(path: str) -> LabelledImages:
    """Return the pictures of `ILSVRC2012_img_train.tar` or `ILSVRC2012_img_val.tar`; nothing is unpacked.

    Each is named `tar/member`, or `tar/n01440764.tar/member`. For val, labels and classes are as with `open_flat`, and
    the file of labels lies beside the tar; for train, classes are the WordNet ids in it, sorted.

    Raises:
        InputError: a tar is damaged, or holds something else; or as `open_flat`.
    """
    is_train = Path(path).name.startswith("ILSVRC2012_img_train")
    return _open_train(path) if is_train else _open_validation(path)


def _open_train(path: str) -> LabelledImages:
    names, labels, places = list[str](), list[int](), list[tuple[int, int, int]]()
    classes = list[str]()
    for inner in sorted(find_members(path), key=lambda member: member.name):
        found = _INNER_TAR.fullmatch(inner.name.removeprefix("./"))
        if not found or found.group(1) in classes:
            raise InputError(f"{path!r} holds {inner.name!r}, where it should hold one tar for each WordNet id")
        pictures = find_members(path, inner)
        if not pictures:
            raise InputError(f"{inner.name!r} in {path!r} holds no pictures: get it again")
        names += [f"{path}/{inner.name}/{member.name}" for member in pictures]
        labels += [len(classes)] * len(pictures)
        places += [(0, member.offset, member.size) for member in pictures]
        classes.append(found.group(1))
    return _in_tar(path, names, np.array(labels, np.int64), tuple(classes), places)


def _open_validation(path: str) -> LabelledImages:
    members = sorted(find_members(path), key=lambda member: member.name)
    labels = _validation_labels([member.name for member in members], [Path(path).absolute().parent], path)
    names = [f"{path}/{member.name}" for member in members]
    return _in_tar(path, names, labels, wordnet_ids(), [(0, member.offset, member.size) for member in members])


def _in_tar(
    path: str,
    names: list[str],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    places: list[tuple[int, int, int]],
) -> LabelledImages:
    if not names:
        raise InputError(f"{path!r} holds no pictures: get it again")
    return LabelledImages(names, labels, classes, PicturesInTars([path], np.array(places, np.int64), names))


def _validation_labels(pictures: Sequence[str], folders: Sequence[Path], where: str) -> npt.NDArray[np.int64]:
    """Return the index of each picture's class, [N] int64, from the first file of labels in `folders`."""
    file = _label_file(folders, where)
    try:
        labels = _read_kaggle(file) if file.name == KAGGLE else _read_synsets(file)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{str(file)!r} is no file of labels that can be read ({error}): get it again") from error
    index_of = {identity: index for index, identity in enumerate(wordnet_ids())}
    found = list[int]()
    for picture in pictures:
        match = _PICTURE.fullmatch(Path(picture).name)
        label = labels.get(int(match.group(1))) if match else None
        if label not in index_of:
            problem = "no label" if label is None else f"the label {label!r}, which is no class of ILSVRC-2012,"
            raise InputError(f"{picture!r} has {problem} in {str(file)!r}: get that file again, or remove the picture")
        found.append(index_of[label])
    return np.array(found, np.int64)


def _label_file(folders: Sequence[Path], where: str) -> Path:
    for folder in folders:
        for name in (KAGGLE, SYNSETS):
            if (folder / name).is_file():
                return folder / name
    wanted = f"put {KAGGLE} (Kaggle) or {SYNSETS} (TensorFlow's models) beside it"
    for folder in folders:
        for place in _GROUND_TRUTH_PLACES:
            if (folder / place).is_file():
                raise InputError(
                    f"{str(folder / place)!r} numbers the classes by ILSVRC id, which is not the order of WordNet ids, "
                    f"so it cannot label {where!r}: {wanted}"
                )
    raise InputError(f"{where!r} has no labels: {wanted}")


def _read_kaggle(file: Path) -> dict[int, str]:
    """Read lines such as `ILSVRC2012_val_00048981,n03995372 85 1 499 272 `: WordNet id, then a box."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.reader(lines) if row]
    labels = {int(row[0].rpartition("_")[2]): row[1].split()[0] for row in rows[1:] if len(row) == 2 and row[1].strip()}
    if len(labels) != len(rows) - 1:
        raise ValueError("a line is not a picture's name, a comma and its label, or comes twice")
    return labels


def _read_synsets(file: Path) -> dict[int, str]:
    """Read a WordNet id from each line; the first is that of picture 1."""
    return dict(enumerate(file.read_text("utf-8").split(), start=1))
