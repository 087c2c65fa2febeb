"""Small pictures to extract from, and what came of them."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

HERE = Path(__file__).parents[1]
MODEL = str(HERE / "checkpoints/tiny_hub_tf1")


def jpeg(number: int, size: int = 24) -> bytes:
    """Return a JPEG image, different for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size)).save(file, "JPEG")
    return file.getvalue()


def pictures(count: int, first: int = 0) -> dict[str, bytes]:
    """Return pictures by name."""
    return {f"{number:05d}.jpg": jpeg(number) for number in range(first, first + count)}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def tar(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """Return a tar of files; mode "w:gz" and so on compresses it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip file of files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def parquet(path: Path, contents: list[bytes | None], group: int = 3) -> Path:
    """Write pictures as Hugging Face does."""
    column = [{"bytes": content, "path": None} for content in contents]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(column, kind)}), path, row_group_size=group)
    return path


def rows_of(output: Path) -> list[dict[str, object]]:
    """Return all rows, in order."""
    rows: list[dict[str, object]] = pq.read_table(output).to_pylist()
    return rows


@pytest.fixture
def everything(tmp_path: Path) -> list[Path]:
    """Sources of every kind with 37 inputs, of which some fail."""
    files = {**pictures(10), "00004.jpg": b"", "00007.jpg": b"no picture"}
    folder = write_folder(tmp_path / "folder", files)
    (tmp_path / "a.tar").write_bytes(tar(pictures(7, 10)))
    (tmp_path / "cut.tar").write_bytes(tar(pictures(5, 20))[:4000])
    (tmp_path / "b.zip").write_bytes(zipped(pictures(6, 30)))
    (tmp_path / "empty.tar").write_bytes(tar({}))
    parquet(tmp_path / "c.parquet", [jpeg(40), None, *(jpeg(number) for number in range(41, 48))])
    return [folder, *(tmp_path / name for name in ("a.tar", "cut.tar", "b.zip", "empty.tar", "c.parquet"))]


def with_copies(tmp_path: Path) -> Path:
    """A folder of 40 pictures with 10 contents."""
    return write_folder(tmp_path / "copies", {f"{number:03d}.jpg": jpeg(number * 7 % 10) for number in range(40)})
