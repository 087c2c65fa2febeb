"""Small labelled pictures for the tests of the datasets room."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pnasnet import images
from pnasnet.datasets import LabelledImages


def picture(shade: int, kind: str = "PNG") -> bytes:
    """Return the bytes of a file with a picture of 2 x 3 pixels, all of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (shade,) * 3).save(buffer, kind)
    return buffer.getvalue()


def shades(data: LabelledImages) -> list[int]:
    """Read all pictures, and return the grey of each."""
    return [int(images.decode(data.read(index))[0, 0, 0]) for index in range(len(data))]


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_tar(path: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members))
    return path


def tar_bytes(members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def struct_column(cells: Iterable[tuple[bytes | None, str | None] | None]) -> pa.Array:
    """Return a column of pictures as Hugging Face writes it."""
    rows = [None if cell is None else {"bytes": cell[0], "path": cell[1]} for cell in cells]
    return pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def labels(data: LabelledImages) -> list[int]:
    assert data.labels.dtype == np.int64
    assert len(set(data.names)) == len(data.names)
    assert len(set(data.classes)) == len(data.classes)
    return [int(label) for label in data.labels]
