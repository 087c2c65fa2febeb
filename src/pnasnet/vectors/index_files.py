"""The files of an index, and what is known of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from ..errors import InputError
from ..support.files import replacing
from .features import Features, check_comparable
from .sketch import Vectors

_VERSION = 1
_STATE = "index.json"


@dataclass(frozen=True)
class State:
    """What `index.json` says.

    Attributes:
        length: F, how long vectors are.
        column: of the features.
        metadata: what makes vectors comparable.
        parts: name, rows and fingerprint of each part, in the order in which they were added.
        vectors: how many are in the files, from their beginning.
        sketched: how many of these have sketches.
        generation: of the sketches; 0 is before the first.
        basis_vectors: how many vectors there were when the basis was made.
        basis_crc32c: of its bytes.
        version: of this layout.
    """

    length: int
    column: str
    metadata: Mapping[str, str]
    parts: tuple[tuple[str, int, str], ...] = ()
    vectors: int = 0
    sketched: int = 0
    generation: int = 0
    basis_vectors: int = 0
    basis_crc32c: int = 0
    version: int = field(default=_VERSION)


class IndexFiles:
    """The folder of an index. `state` is what its `index.json` says, or of an index without anything."""

    def __init__(self, folder: Path, empty: State | None = None) -> None:
        """Read the state; where there is none, take `empty`.

        Raises:
            InputError: there is no index, or what is there is none.
        """
        self.folder = folder
        self.vectors, self.ids = folder / "vectors.f16", folder / "ids.i64"
        path = folder / _STATE
        if empty is not None and not path.exists():
            self.state = empty
            return
        try:
            self.state = _parse(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise InputError(f"{folder} holds no finished index: go on building it with --index") from None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise self.damaged(folder) from error
        if self.state.version != _VERSION:
            raise InputError(f"{folder} is an index of another version: remove it, and build it again with --index")

    @staticmethod
    def damaged(path: Path) -> InputError:
        """Return the error for an index whose files do not fit together."""
        return InputError(f"the index of {path} is damaged: remove the folder, and build it again with --index")

    def sketches(self, generation: int | None = None) -> Path:
        """Return the file of the sketches of a generation, if not the present one."""
        return self.folder / f"sketches-{self.state.generation if generation is None else generation}.f32"

    def basis(self, generation: int | None = None) -> Path:
        """Return the file of the basis of a generation, if not the present one."""
        return self.folder / f"basis-{self.state.generation if generation is None else generation}.npy"

    def load_basis(self) -> Vectors:
        """Return the basis [rank, F]. Raises `InputError` where it is not what was written."""
        try:
            basis = np.load(self.basis(), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self.damaged(self.folder) from error
        if (
            basis.dtype != np.float32
            or basis.ndim != 2
            or basis.shape[1] != self.state.length
            or crc32c(basis) != self.state.basis_crc32c
        ):
            raise self.damaged(self.folder)
        return np.ascontiguousarray(basis)

    def commit(self, **changes: Any) -> None:
        """Let the state change: from now on it is what the folder holds. Raises OSError."""
        self.state = replace(self.state, **changes)
        with replacing(self.folder / _STATE) as temporary:
            temporary.write_text(json.dumps(asdict(self.state), indent=1) + "\n", "utf-8")

    def check_belongs(self, features: Features) -> None:
        """Raise `InputError` unless all that is in the index is in the features, and its files are large enough."""
        state = self.state
        where = str(self.folder)
        check_comparable(features.metadata, state.metadata, what=str(features.path), where=where)
        if (state.column, state.length) != (features.column, features.length):
            raise InputError(
                f"{where} is of column {state.column} with {state.length} numbers, not of {features.column} with "
                f"{features.length}: remove it, and build another with --index"
            )
        present = {part.path.name: (part.rows, part.fingerprint) for part in features.parts}
        for name, rows, fingerprint in state.parts:
            if present.get(name) != (rows, fingerprint):
                change = "is another one now" if name in present else "is gone"
                raise InputError(
                    f"{where} does not belong to {features.path}: {name} {change}; remove it, and build it again "
                    "with --index"
                )
        self._check_sizes()

    def check_complete(self, features: Features) -> None:
        """Raise `InputError` unless everything in the features is in the index."""
        missing = len(features.parts) - len(self.state.parts)
        if missing or self.state.sketched != self.state.vectors:
            lacks = f"lacks {missing:,} of {len(features.parts):,} parts" if missing else "is not finished"
            raise InputError(f"{self.folder} {lacks}: go on building it with --index, or search with --exact")

    def _check_sizes(self) -> None:
        state = self.state
        sizes = {self.vectors: 2 * state.length * state.vectors, self.ids: 8 * state.vectors}
        if state.generation:
            sizes[self.sketches()] = 4 * (len(self.load_basis()) + 1) * state.sketched
        for path, size in sizes.items():
            if size and (not path.exists() or path.stat().st_size < size):
                raise self.damaged(self.folder)


def crc32c(basis: Vectors) -> int:
    """Return the checksum of a basis."""
    return int(google_crc32c.value(basis.tobytes()))


def _parse(told: Any) -> State:
    """Return the state from JSON. Raises TypeError, ValueError or KeyError where it is none."""
    if not isinstance(told, dict):
        raise TypeError(told)
    parts = tuple((str(name), int(rows), str(fingerprint)) for name, rows, fingerprint in told["parts"])
    state = State(**told | {"parts": parts})
    numbers = (state.length, state.vectors, state.sketched, state.generation, state.basis_vectors, state.basis_crc32c)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or state.sketched > state.vectors:
        raise ValueError(state)
    if not isinstance(state.metadata, dict) or not isinstance(state.column, str):
        raise TypeError(state)
    return state
