"""WebDataset's tars: `key.jpg` beside `key.cls` or `key.json`, read by their places in the shards."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    """Return the samples of the shards in their order; each is named `shard.tar/key.jpg`.

    As in WebDataset, a sample's key is all of a name before the first dot of its last part. Its label is the number
    in `key.cls`, or else `label`, `cls` or `class_name` in `key.json`, a number or a name. What is neither picture nor
    label is passed over. Names of the classes come from `classes.txt` or `classes.json` beside the shards.

    Raises:
        InputError: a shard is no uncompressed tar, or damaged; a sample has no picture, two of them, no label, or a
            label that is none of the classes; there are no samples.
    """
    names, labels, places = list[str](), list[int | str](), list[tuple[int, int, int]]()
    for index, tar in enumerate(tars):
        for sample, label in _samples(tar):
            names.append(f"{tar}/{sample.name}")
            labels.append(label)
            places.append((index, sample.offset, sample.size))
    if not names:
        raise InputError(f"{tars[0]!r} holds no samples: they are pairs of files such as 0.jpg and 0.cls")
    numbers, classes = number_labels(labels, names, classes_beside(Path(tars[0]).parent))
    read = PicturesInTars(tars, np.array(places, np.int64), names)
    return LabelledImages(names, numbers, classes, read)


@dataclass(slots=True)
class _Sample:
    picture: Member | None = None
    cls: Member | None = None
    json: Member | None = None


def _samples(tar: str) -> Iterator[tuple[Member, int | str]]:
    samples: dict[str, _Sample] = {}
    for member in find_members(tar):
        _sort_in(member, samples, tar)
    with Path(tar).open("rb", buffering=0) as file:
        for key, sample in samples.items():
            where = f"sample {key!r} in {tar!r}"
            if sample.picture is None:
                raise InputError(f"{where} has a label but no picture: add one, such as {key + '.jpg'!r}, or remove it")
            yield sample.picture, _label(sample, file.fileno(), where)


def _sort_in(member: Member, samples: dict[str, _Sample], tar: str) -> None:
    folder, slash, name = member.name.rpartition("/")
    stem, _, kind = name.partition(".")
    kind = kind.lower()
    if not stem:  # hidden
        return
    key = folder + slash + stem
    field = "picture" if f".{kind}" in EXTENSIONS else kind
    if field not in ("picture", "cls", "json"):
        return
    sample = samples.setdefault(key, _Sample())
    if getattr(sample, field) is not None:
        raise InputError(f"sample {key!r} in {tar!r} has two files for its {field}: remove one, or rename it")
    setattr(sample, field, member)


def _label(sample: _Sample, descriptor: int, where: str) -> int | str:
    member = sample.cls or sample.json
    if member is None:
        raise InputError(f"{where} has no label: add a .cls or .json file, or remove it")
    if member.size > _MAX_LABEL_BYTES:
        raise InputError(f"{where} has {member.size:,} bytes for its label: mend {member.name!r}")
    data = os.pread(descriptor, member.size, member.offset)
    try:
        found = int(data) if sample.cls else _from_json(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} has no label that can be read: mend {member.name!r} ({error})") from error
    return found


def _from_json(content: object) -> int | str:
    values = [content.get(key) for key in _JSON_KEYS] if isinstance(content, dict) else []
    for value in values:
        if isinstance(value, int | str) and not isinstance(value, bool):
            return value
    raise ValueError(f"it has neither of {', '.join(_JSON_KEYS)}")
