"""Pictures that are read later, in units that are processed, kept and resumed one by one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

from ..errors import ImageError
from ..images import Source
from ..support.paths import utf8


@dataclass(frozen=True)
class Picture:
    """A picture that has not been read yet.

    Attributes:
        name: what its row calls it; without credentials.
        read: returns its bytes or its path; raises `ImageError`. Called once, from any thread.
        held: bytes that it keeps in memory until it is read.
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
    """A unit of work: some files, a shard, a row group. A small value that is pickled or kept as JSON.

    Every run that opens it finds the same pictures in the same order, as long as nobody changes the files.
    """

    kind: ClassVar[str]
    is_one_file: ClassVar[bool] = False
    """Whether its pictures lie in one file, so that if one is out of reach all are."""
    kinds: ClassVar[dict[str, type["Unit"]]] = {}

    def __init_subclass__(cls) -> None:
        Unit.kinds[cls.kind] = cls

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called if it fails as a whole; without credentials."""

    def name_at(self, number: int) -> str:
        """Return the name of picture `number`, as far as it can be known if the unit fails before it."""
        return self.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files, or the split, that its pictures are or lie in: `--add` adds none of them again."""
        return (self.name,)

    @property
    def size(self) -> int | None:
        """The number of pictures; None if only opening it would tell."""
        return None

    @abstractmethod
    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the pictures from number `start` on.

        Raises:
            ImageError: the unit is damaged from here on. UnreachableError: it cannot be opened or read for now.
        """

    def named(self, names: Collection[str]) -> Iterator[Picture]:
        """Yield the pictures with these names, of each name the first, in the unit's order.

        It ends with the last of them, or with the unit. Errors as for `pictures`.
        """
        left = set(names)
        with closing(self.chosen(lambda name: utf8(name) in left)) as pictures:
            for picture in pictures if left else ():
                left.remove(utf8(picture.name))
                yield picture
                if not left:
                    return

    def chosen(self, is_wanted: Callable[[str], bool]) -> Generator[Picture, None, None]:
        """Yield the pictures whose names are wanted; each is asked about once, in order. Errors as for `pictures`."""
        for picture in self.pictures():
            if is_wanted(picture.name):
                yield picture

    def to_dict(self) -> dict[str, Any]:
        """Return the unit as plain values, for JSON. They may hold credentials."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]  # all are dataclasses

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Unit":
        """Return the unit that `to_dict` was called on."""
        plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return Unit.kinds[str(plain.pop("kind"))](**plain)
