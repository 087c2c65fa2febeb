"""The files of the exact index. None is trusted: their sizes are checked before they are read."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from ..errors import InputError
from ..support.files import write_json
from .features import Features
from .manifest import MANIFEST, Manifest, check_belongs, damaged, read_manifest
from .sketch import RANK, Vectors

_VERSION = 1
_NPY_HEADER = 4096  # more than NumPy needs for two dimensions


@dataclass(frozen=True)
class ExactManifest(Manifest):
    """The content of `index.json`.

    Attributes:
        vectors: number of valid vectors in the files.
        sketched: number of vectors with sketches.
        generation: generation of the basis; 0 if there is none.
        basis_vectors: number of vectors when the basis was computed.
        basis_crc32c: checksum of the basis.
        version: version of this layout.
    """

    vectors: int = 0
    sketched: int = 0
    generation: int = 0
    basis_vectors: int = 0
    basis_crc32c: int = 0
    version: int = _VERSION


class IndexFiles:
    """The folder of an index. `manifest` is the content of `index.json`, empty for a new index."""

    def __init__(self, folder: Path, features: Features, *, create: bool = False) -> None:
        """Read the manifest. Raises `InputError` if it is missing (unless `create`), damaged, or of other features."""
        self.folder = folder
        self.vectors, self.ids = folder / "vectors.f16", folder / "ids.i64"
        manifest = read_manifest(folder, ExactManifest, _VERSION)
        if manifest is None and not create:
            raise InputError(f"{folder} holds no finished index: finish it with --index")
        self.manifest = manifest or ExactManifest(features.length, features.column)
        check_belongs(folder, self.manifest, features)
        self._check_sizes()

    def sketches(self, generation: int | None = None) -> Path:
        """Return the file of the sketches of a generation; by default the current one."""
        return self.folder / f"sketches-{self.manifest.generation if generation is None else generation}.f32"

    def basis(self, generation: int | None = None) -> Path:
        """Return the file of the basis of a generation; by default the current one."""
        return self.folder / f"basis-{self.manifest.generation if generation is None else generation}.npy"

    def load_basis(self) -> Vectors:
        """Return the basis, float32 [rank, F]. Raises `InputError` if it is damaged."""
        try:
            if self.basis().stat().st_size > 4 * RANK * self.manifest.length + _NPY_HEADER:
                raise damaged(self.folder)
            mapped = np.load(self.basis(), mmap_mode="r", allow_pickle=False)  # bounded by the file
        except (OSError, ValueError, EOFError) as error:
            raise damaged(self.folder) from error
        valid = mapped.dtype == np.float32 and mapped.ndim == 2 and mapped.shape[1] == self.manifest.length
        if not valid or crc32c(basis := np.array(mapped)) != self.manifest.basis_crc32c:
            raise damaged(self.folder)
        return np.ascontiguousarray(basis)

    def commit(self, **changes: Any) -> None:
        """Write changes to the manifest, which makes the appended bytes valid. Raises `OutputError`."""
        self.manifest = replace(self.manifest, **changes)
        write_json(self.folder / MANIFEST, asdict(self.manifest))

    def check_complete(self, features: Features) -> None:
        """Raise `InputError` unless all parts of the features are in the index."""
        missing = len(features.parts) - len(self.manifest.parts)
        if missing or self.manifest.sketched != self.manifest.vectors:
            lacks = f"lacks {missing:,} of {len(features.parts):,} parts" if missing else "is not finished"
            raise InputError(f"{self.folder} {lacks}: finish it with --index, or search with --exact")

    def _check_sizes(self) -> None:
        manifest = self.manifest
        if manifest.sketched > manifest.vectors:
            raise damaged(self.folder)
        sizes = {self.vectors: 2 * manifest.length * manifest.vectors, self.ids: 8 * manifest.vectors}
        if manifest.generation:
            sizes[self.sketches()] = 4 * (len(self.load_basis()) + 1) * manifest.sketched
        for path, size in sizes.items():
            if size and (not path.exists() or path.stat().st_size < size):
                raise damaged(self.folder)


def crc32c(numbers: Vectors) -> int:
    """Return the CRC-32C of an array's bytes."""
    return int(google_crc32c.value(numbers.tobytes()))
