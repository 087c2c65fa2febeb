"""Archives and tables that are of another kind than their names say, and zip files that cannot be read here."""

import os
from pathlib import Path

import pytest

from pnasnet.errors import ImageError
from pnasnet.pictures import list_units

from tests.helpers.corpus import jpeg, pictures, tar, zipped

CONTENTS = {"tar": tar(pictures(1)), "zip": zipped(pictures(1)), "jpg": jpeg(1), "7z": b"7z\xbc\xaf\x27\x1c\0\4"}
SAID = {
    "tar": "a tar, not {}: name it .tar, or unpack it and pass the folder",
    "zip": "a zip file, not {}: name it .zip, or unpack it and pass the folder",
    "jpg": "an image (JPEG), not {}: name it .jpg",
    "7z": "a 7z archive, not {}: unpack it and pass the folder",
}
NAMES = {"tar": "a tar", "zip": "a zip file", "parquet": "a Parquet file"}


def error_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        [picture.read() for unit in list_units([path]) for picture in unit.pictures()]
    return str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "content"), [(suffix, content) for suffix in NAMES for content in CONTENTS if suffix != content]
)
def test_the_error_names_what_a_file_is(tmp_path: Path, suffix: str, content: str) -> None:
    path = tmp_path / f"photos.{suffix}"
    path.write_bytes(CONTENTS[content])
    assert error_of(path) == f"{path}: {SAID[content].format(NAMES[suffix])}"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip", "parquet"])
def test_a_pipe_or_a_device_is_refused_before_it_is_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photos.{suffix}"
    path.symlink_to(os.devnull)  # opening a pipe would wait for ever without the check
    assert error_of(path) == f"{path}: not a regular file: copy it into one"


def test_a_compressed_tar_may_have_any_name_and_other_kinds_are_never_compressed(tmp_path: Path) -> None:
    packed = {suffix: tmp_path / f"photos.{suffix}" for suffix in NAMES}
    for path in packed.values():
        path.write_bytes(b"\x1f\x8b\x08\0 cut")
    said = "a file compressed by gzip, not {}: unpack it; if it is a tar, name it .tar.gz"
    assert error_of(packed["tar"]).startswith(f"{packed['tar']}: not a tar, or damaged from here on")
    assert error_of(packed["zip"]) == f"{packed['zip']}: {said.format('a zip file')}"
    assert error_of(packed["parquet"]) == f"{packed['parquet']}: {said.format('a Parquet file')}"


@pytest.mark.parametrize("suffix", NAMES)
def test_a_file_of_the_kind_that_its_name_says_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photos.{suffix}"
    path.write_bytes({**CONTENTS, "parquet": b"PAR1" + bytes(100)}[suffix][:100])
    assert ": get it again" in error_of(path)


def changed(at: int, value: int, signature: bytes, data: bytes) -> bytes:
    """Return a zip file with another 16-bit number in each header of a kind."""
    first, *others = data.split(signature)
    return signature.join([first, *(part[: at - 4] + value.to_bytes(2, "little") + part[at - 2 :] for part in others)])


def test_the_last_part_of_a_split_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(changed(34, 1, b"PK\x01\x02", zipped(pictures(2))))
    assert error_of(path) == f"{path}: a part of a split archive: join the parts first, as zip -s 0 does"


def test_members_that_are_packed_by_an_unknown_method(tmp_path: Path) -> None:
    """Such as Deflate64, which Windows uses for large files."""
    path, deflate64 = tmp_path / "photos.zip", 9
    packed = changed(8, deflate64, b"PK\x03\x04", zipped(pictures(1)))
    path.write_bytes(changed(10, deflate64, b"PK\x01\x02", packed))
    said = "packed by a method that is not known here: unpack the zip file with another program, and pass the folder"
    assert error_of(path) == f"{path}/00000.jpg: {said}"
