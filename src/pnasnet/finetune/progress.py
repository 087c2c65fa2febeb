"""A fine-tuning in progress: its pictures, what is known of them, and how well a classifier does on them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..engines import EngineOptions
from ..errors import InputError
from ..evaluation import Tally, confident_mistakes
from ..extract import ExtractOptions
from ..module.module import Module
from .features import Features
from .head import Labelled
from .outcome import Mistake
from .splits import Split

_MISTAKES = 24


class Listener:
    """Hears what happens; a command line shows it. Every method may be left as it is."""

    def note(self, text: str) -> None:
        """Take a sentence about a choice that was made."""

    def extracting(self, total: int) -> Callable[[int], None]:
        """Take the number of pictures to extract, and return what to call with the number of new ones."""
        return lambda rows: None


@dataclass
class Run:
    """A fine-tuning in progress."""

    module: Module
    data: LabelledImages
    split: Split
    features: Features
    folder: Path
    preset: str
    """The preprocessing, which the model then asks for."""
    extract: ExtractOptions
    """With that preprocessing, the EXIF orientation included."""
    engine: EngineOptions
    listener: Listener
    check: Callable[[], None]
    """Raises to end the run."""
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What the card tells of the choices that were made."""

    @property
    def training(self) -> Path:
        """Where training the whole network has what it can go on from."""
        return self.folder / "training"

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage takes."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start

    def note(self, text: str | None) -> None:
        """Tell a sentence to who listens and to the card, if there is one to tell."""
        if text:
            self.notes.append(text)
            self.listener.note(text)

    # The pictures.

    def indices(self, part: str) -> NDArray[np.int64]:
        """Return the readable pictures of a part."""
        return np.flatnonzero((self.split.parts == part) & self.features.readable)

    def pictures(self, part: str) -> LabelledImages:
        """Return the readable pictures of a part, with their classes."""
        return self.data.take(self.indices(part))

    def labelled(self, part: str) -> Labelled:
        """Return the features and labels of a part."""
        chosen = self.indices(part)
        return Labelled(self.features.vectors[chosen], self.data.labels[chosen])

    def check_parts(self) -> None:
        """Raise `InputError` where a class has no readable picture left to train on, or none is left to validate."""
        for name, count in zip(self.data.classes, self.pictures("training").counts(), strict=True):
            if not count:
                raise InputError(f"class {name!r} has no readable picture to train on: add some")
        if not len(self.indices("validation")):
            raise InputError("no validation picture can be read: mend or add pictures")

    def unmeasured(self, part: str) -> str | None:
        """Return which classes have no picture in a part; None if all have."""
        counts = self.pictures(part).counts()
        names = [name for name, count in zip(self.data.classes, counts, strict=True) if not count]
        if not names:
            return None
        if len(names) == 1:
            return f"class {names[0]!r} has no {part} picture: how well it does is not measured"
        return (
            f"{len(names):,} classes, such as {names[0]!r}, have no {part} picture: how well these do is not measured"
        )

    # Measuring.

    def tally(self, logits: NDArray[np.float32], part: str) -> Tally:
        """Count what logits say of a part's pictures, [N, classes] in their order."""
        tally = Tally(len(self.data.classes), keep=True)
        tally.add(logits, self.data.labels[self.indices(part)])
        return tally

    def mistakes(self, tally: Tally, part: str) -> list[Mistake]:
        """Return the wrong answers of a part that were given with most confidence, the surest first."""
        judged, indices = tally.judged(), self.indices(part)
        return [
            Mistake(
                str(self.data.names[indices[i]]),
                self.data.read(int(indices[i])),
                int(judged.true[i]),
                int(judged.predicted[i]),
                float(judged.probability[i]),
            )
            for i in confident_mistakes(judged, _MISTAKES)
        ]
