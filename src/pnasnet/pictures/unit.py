"""What sources are made of: pictures that are read later, in units that are worked off, kept and resumed one by one."""

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
        name: what its row calls it.
        read: returns its bytes or its path; raises `ImageError`. Called once, from any thread.
    """

    name: str
    read: Callable[[], Source]

    @classmethod
    def failing(cls, name: str, failure: ImageError) -> "Picture":
        """Return a picture that cannot be read, and why."""
        return cls(name, partial(_raise, failure))


def _raise(failure: ImageError) -> Source:
    raise failure


class Unit(ABC):
    """Pictures that belong together: some files, a shard, a row group. A small value, to be pickled or kept as JSON.

    Every run that opens it meets the same pictures in the same order, as long as nobody changes what lies there.
    """

    kind: ClassVar[str]
    is_one_file: ClassVar[bool] = False
    """Whether its pictures lie in one file, so that where one is out of reach the others are."""
    kinds: ClassVar[dict[str, type["Unit"]]] = {}

    def __init_subclass__(cls) -> None:
        """Remember the subclass by its kind."""
        Unit.kinds[cls.kind] = cls

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called where it fails as a whole."""

    def name_at(self, number: int) -> str:
        """What picture `number` is called where the unit fails before it, as far as can be known."""
        return self.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Which files its pictures are or lie in, or which split: what is known by these is not added again."""
        return (self.name,)

    @property
    def size(self) -> int | None:
        """How many pictures it has; None where only opening it would tell."""
        return None

    @abstractmethod
    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the pictures from number `start` on.

        Raises:
            ImageError: the unit is damaged from here on. UnreachableError: it cannot be opened or read, for now.
        """

    def named(self, names: Collection[str]) -> Iterator[Picture]:
        """Yield the pictures that rows call by these names, of each name the first, in the unit's order.

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
        """Return the unit as plain values, for JSON."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]  # all are dataclasses

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Unit":
        """Return the unit that `to_dict` was called on."""
        plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return Unit.kinds[str(plain.pop("kind"))](**plain)
