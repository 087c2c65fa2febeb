"""`Picture`, an image that is read later, and `Unit`, the images that are processed and resumed together."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

from ..errors import ImageError
from ..images import Source
from ..support.text import utf8
from .passed_over import PassedOver


@dataclass(frozen=True)
class Picture:
    """An image that has not been read yet.

    Attributes:
        name: name of its row; without credentials.
        read: returns its bytes or its path; raises `ImageError`. Called once, from any thread.
        held: number of bytes that it keeps in memory until it is read.
    """

    name: str
    read: Callable[[], Source]
    held: int = 0

    @classmethod
    def failing(cls, name: str, failure: ImageError) -> "Picture":
        """Return a picture that raises `failure` when it is read."""
        return cls(name, partial(_raise, failure))


def _raise(failure: ImageError) -> Source:
    raise failure


class Unit(ABC):
    """A unit of work: some files, a shard, or a row group. A small value that is pickled and stored as JSON.

    Every run that opens a unit finds the same pictures in the same order, provided that the files do not change.
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["Unit"]]] = {}

    def __init_subclass__(cls) -> None:
        Unit.kinds[cls.kind] = cls

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the row if the unit fails as a whole; without credentials."""

    def name_at(self, number: int) -> str:
        """Return the name of picture `number`, or the best substitute if the unit fails before that picture."""
        return self.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the files, or of the split, that contain the pictures: `--add` skips known ones."""
        return (self.name,)

    @property
    def size(self) -> int | None:
        """Number of pictures; None if it is unknown until the unit is opened."""
        return None

    @abstractmethod
    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Yield the pictures from number `start` on.

        Args:
            start: number of the first picture.
            passed_over: counts the files of an archive that are not images, those before picture `start` included.

        Raises:
            ImageError: the rest of the unit is damaged.
            UnreachableError: the unit cannot be opened or read for now.
        """

    def named(self, names: Collection[str]) -> Iterator[Picture]:
        """Yield the pictures with these names, the first one of each name, in the unit's order.

        Stops after the last of them. Raises like `pictures`.
        """
        left = set(names)
        with closing(self.chosen(lambda name: utf8(name) in left)) as pictures:
            for picture in pictures if left else ():
                left.remove(utf8(picture.name))
                yield picture
                if not left:
                    return

    def chosen(self, is_wanted: Callable[[str], bool]) -> Generator[Picture, None, None]:
        """Yield the pictures with wanted names. `is_wanted` is called once for each name, in order."""
        for picture in self.pictures():
            if is_wanted(picture.name):
                yield picture

    def to_dict(self) -> dict[str, Any]:
        """Return the unit as plain values for JSON. They may contain credentials."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]  # all are dataclasses

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Unit":
        """Return the unit that `to_dict` was called on."""
        plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return Unit.kinds[str(plain.pop("kind"))](**plain)
