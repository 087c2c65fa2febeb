"""Opens WebDataset tars: `key.jpg` beside `key.cls` or `key.json`, read in place."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..images import EXTENSIONS
from ..pictures.tar_members import Member, PicturesInTars, find_members
from .classes import classes_beside, number_labels
from .labelled import LabelledImages

_MAX_LABEL_BYTES = 2**20
_JSON_KEYS = ("label", "cls", "class_name")


def open_tars(tars: Sequence[str]) -> LabelledImages:
    """Return the samples of the shards in order, each named `shard.tar/key.jpg`.

    As in WebDataset, the key of a sample is its name up to the first dot of the last part. Its label is the number in
    `key.cls`, or else `label`, `cls` or `class_name` in `key.json`, a number or a name. Other files are ignored. The
    names of the classes come from `classes.txt` or `classes.json` beside the shards.

    Raises:
        InputError: a shard is compressed, damaged or not a tar; a sample has no image or several, no label, or a label
            that is not among the classes; or there are no samples.
    """
    names, labels, places = list[str](), list[int | str](), list[tuple[int, int, int]]()
    for index, tar in enumerate(tars):
        for image, label in _samples(tar):
            names.append(f"{tar}/{image.name}")
            labels.append(label)
            places.append((index, image.offset, image.size))
    if not names:
        raise InputError(f"{tars[0]!r} contains no samples: a sample is a pair of files such as 0.jpg and 0.cls")
    numbers, classes = number_labels(labels, names, classes_beside(Path(tars[0]).parent))
    read = PicturesInTars(tars, np.array(places, np.int64), names)
    return LabelledImages(names, numbers, classes, read)


def _samples(tar: str) -> Iterator[tuple[Member, int | str]]:
    samples: dict[str, dict[str, Member]] = {}
    for member in find_members(tar):
        _add(member, samples, tar)
    with Path(tar).open("rb", buffering=0) as file:
        for key, sample in samples.items():
            where = f"sample {key!r} in {tar!r}"
            if "image" not in sample:
                raise InputError(f"{where} has a label but no image: add {key + '.jpg'!r}, or remove the label")
            yield sample["image"], _label(sample, file.fileno(), where)


def _add(member: Member, samples: dict[str, dict[str, Member]], tar: str) -> None:
    folder, slash, name = member.name.rpartition("/")
    stem, _, kind = name.partition(".")
    field = "image" if f".{kind.lower()}" in EXTENSIONS else kind.lower()
    if not stem or field not in ("image", "cls", "json"):  # a file without a stem is hidden
        return
    key = folder + slash + stem
    sample = samples.setdefault(key, {})
    if field in sample:
        raise InputError(f"sample {key!r} in {tar!r} has two files for its {field}: remove one, or rename it")
    sample[field] = member


def _label(sample: dict[str, Member], descriptor: int, where: str) -> int | str:
    member = sample.get("cls", sample.get("json"))
    if member is None:
        raise InputError(f"{where} has no label: add a .cls or .json file, or remove the image")
    if member.size > _MAX_LABEL_BYTES:
        raise InputError(f"{where} has a label of {member.size:,} bytes: correct {member.name!r}")
    data = os.pread(descriptor, member.size, member.offset)
    try:
        return int(data) if "cls" in sample else _from_json(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} has an unreadable label ({error}): correct {member.name!r}") from error


def _from_json(content: object) -> int | str:
    values = [content.get(key) for key in _JSON_KEYS] if isinstance(content, dict) else []
    for value in values:
        if isinstance(value, int | str) and not isinstance(value, bool):
            return value
    raise ValueError(f"none of the keys {', '.join(_JSON_KEYS)} has a number or a string")
