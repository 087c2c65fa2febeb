"""Images that are read in place in tars, hostile ones included."""

import io
import os
import pickle
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import ImageError, InputError
from pnasnet.pictures.tar_members import Member, PicturesInTars, find_members

from tests.helpers.datasets_data import tar_bytes, write


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(keyword: str, value: str) -> bytes:
    """Return a header that sets `keyword` of the next file."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {keyword: value}
    return info.tobuf(tarfile.PAX_FORMAT)


def sparse_parts(count: int) -> bytes:
    """Return a sparse file that claims `count` parts; the list of parts compresses to kilobytes."""
    info = tarfile.TarInfo("a")
    parts = f"{count}\n".encode() + b"1\n1\n" * count
    info.size = -(-len(parts) // 512) * 512
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    return info.tobuf(tarfile.PAX_FORMAT) + parts.ljust(info.size, b"\0")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_only_regular_files_are_found(tmp_path: Path, form: int) -> None:
    long_name = "n" * 90 + "/" + "m" * 99
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in [("a", b"1"), (long_name, b"x" * 513), ("empty", b""), ("../up", b"22")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info, _ in (special("d", tarfile.DIRTYPE), special("s", tarfile.SYMTYPE, "/etc/passwd")):
            archive.addfile(info)
        for info, _ in (special("h", tarfile.LNKTYPE, "a"), special("f", tarfile.FIFOTYPE)):
            archive.addfile(info)
    members = find_members(str(path))
    content = path.read_bytes()
    found = {member.name: content[member.offset : member.offset + member.size] for member in members}
    assert found == {"a": b"1", long_name: b"x" * 513, "empty": b"", "../up": b"22", "h": b"1"}


def test_sparse_files_are_skipped(tmp_path: Path) -> None:
    sparse = header("sparse", 512, tarfile.GNUTYPE_SPARSE) + b"x" * 512
    path = write(tmp_path / "a.tar", sparse + tar_bytes([("a", b"1")]))
    assert [member.name for member in find_members(str(path))] == ["a"]


def test_tar_in_a_tar(tmp_path: Path) -> None:
    inner = tar_bytes([("x", b"first"), ("y", b"second")])
    path = write(tmp_path / "outer.tar", tar_bytes([("zero.tar", inner[:512] * 0), ("inner.tar", inner)]))
    place = find_members(str(path))[1]
    members = find_members(str(path), place)
    content = path.read_bytes()
    assert [content[m.offset : m.offset + m.size] for m in members] == [b"first", b"second"]
    first = Member("inner.tar", place.offset, 1024)
    assert [member.name for member in find_members(str(path), first)] == ["x"]
    short = Member("inner.tar", place.offset, 600)
    with pytest.raises(InputError, match=r"'inner.tar' in '.*outer.tar' is not a tar, or damaged"):
        find_members(str(path), short)


@pytest.mark.parametrize(("size", "is_read"), [(2**14, True), (2**14 + 1, False)])
def test_a_name_may_fill_a_header_of_16_kib(tmp_path: Path, size: int, is_read: bool) -> None:
    name = "n" * (size - 1)
    content = (name.encode() + b"\0").ljust(-(-size // 512) * 512, b"\0")
    long = header("././@LongLink", size, tarfile.GNUTYPE_LONGNAME) + content
    path = write(tmp_path / "a.tar", long + tar_bytes([("a", b"1")]))
    if is_read:
        assert [member.name for member in find_members(str(path))] == [name]
        return
    with pytest.raises(InputError, match="a header of "):
        find_members(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not a tar, or damaged \(empty file\): get it again"),
        (b"text" * 500, "is not a tar, or damaged"),
        (b"\x1f\x8b" + b"\0" * 99, "is compressed with gzip, .*: unpack it$"),
        (b"BZh9" + b"\0" * 99, "is compressed with bzip2"),
        (b"\xfd7zXZ\0" + b"\0" * 99, "is compressed with xz"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 99, "is compressed with zstd"),
        (header("a", 10**9), r"'a' has an impossible size\): get it again"),
        (header("a", 512) + b"x" * 500, "'a' has an impossible size"),
        (header("a", -1024) + b"x" * 512, "'a' has an impossible size"),
        (header("b", 0) + header("a", -512), "'a' has an impossible size"),
        (pax("size", "-2048") + b"\0" * 1024, "'a' has an impossible size"),
        (pax("size", "99999999999999999999") + b"\0" * 1024, "'a' has an impossible size"),
        (header("long", 2**40, tarfile.GNUTYPE_LONGNAME), "a header of 1099511627776 bytes"),
        (header("long", -512, tarfile.GNUTYPE_LONGNAME), "a header of -512 bytes"),
        (header("pax", 2**20, tarfile.XHDTYPE) + b"1" * 2**20, "a header of 1048576 bytes"),
        (header("pax", 0, tarfile.XHDTYPE) * 5000, "recursion|damaged"),
        (sparse_parts(10**6), "headers of more than 262144 bytes for one file"),
        (header("a", 3) + b"xxx".ljust(512, b"\0") + b"damaged".ljust(512, b"!"), "a damaged header at byte 1024"),
        (header("a", 3) + b"xxx".ljust(512, b"\0") + header("b", 3)[:300], "a damaged header at byte 1024"),
        (tar_bytes([("a", b"1"), ("b", b"2"), ("a", b"3")]), "contains 'a' twice: remove one, or rename it"),
    ],
)
def test_tar_that_is_damaged_or_hostile_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "a.tar", content)
    with pytest.raises(InputError, match=message) as caught:
        find_members(str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_changed_byte_leads_outside_the_file(tmp_path: Path) -> None:
    sparse = header("sparse", 512, tarfile.GNUTYPE_SPARSE) + b"x" * 512
    whole = sparse + pax("path", "p" * 200) + tar_bytes([("a.png", b"1" * 600), ("n" * 150, b"2"), ("b.cls", b"3")])
    path, chance, outcomes = tmp_path / "a.tar", random.Random(0), set[str]()
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            content[place] = chance.choice((0, 48, 49, 55, 128, 255, chance.randrange(256)))
        _mend_checksums(content)
        path.write_bytes(content)
        try:
            members = find_members(str(path))
        except InputError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert all(0 <= m.offset <= m.offset + m.size <= len(content) for m in members)
    assert outcomes == {"refused", "read"}


def _mend_checksums(content: bytearray) -> None:
    """Accept all checksums of headers, so that their content is read."""
    for start in range(0, len(content) - 511, 512):
        block = content[start : start + 512]
        if block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 8 * 32
            content[start + 148 : start + 156] = b"%06o\0 " % total


def test_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read '.*nowhere.tar': No such file or directory"):
        find_members(str(tmp_path / "nowhere.tar"))


@pytest.fixture
def three(tmp_path: Path) -> PicturesInTars:
    """Thirty files in three tars; the content is the number, fifty times."""
    tars, places = [], []
    for shard in range(3):
        files = [(f"{n}.jpg", str(n).encode() * 50) for n in range(shard, 30, 3)]
        tars.append(str(write(tmp_path / f"{shard}.tar", tar_bytes(files))))
        places += [(int(m.name[:-4]), shard, m.offset, m.size) for m in find_members(tars[-1])]
    return PicturesInTars(tars, np.array(sorted(places), np.int64)[:, 1:], [f"picture {n}" for n in range(30)])


EXPECTED = [str(n).encode() * 50 for n in range(30)]


def test_several_threads_read_and_leave_no_file_open(three: PicturesInTars) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.iterdir opens it as well
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(three, list(range(30)) * 20)) == EXPECTED * 20
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_reader_is_pickled_without_its_open_files(three: PicturesInTars) -> None:
    three(0)
    again = pickle.loads(pickle.dumps(three))
    assert [again(n) for n in range(30)] == EXPECTED


def test_a_device_is_an_error_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.tar").symlink_to(os.devnull)
    with pytest.raises(InputError, match=r"a\.tar: not a regular file: copy it into one$"):
        find_members(str(tmp_path / "a.tar"))


def test_a_tar_that_changes_while_it_is_read_is_an_image_error(three: PicturesInTars, tmp_path: Path) -> None:
    (tmp_path / "1.tar").write_bytes(b"short")
    (tmp_path / "2.tar").unlink()
    with pytest.raises(ImageError, match="picture 4: truncated, because the tar ends before it or has changed"):
        three(4)
    with pytest.raises(ImageError, match=r"cannot read picture 5: No such file or directory; check the disk"):
        three(5)


def test_picture_of_no_bytes_or_too_many_is_an_image_error(tmp_path: Path) -> None:
    places = np.array([[0, 0, 0], [0, 0, 2**40]], np.int64)
    read = PicturesInTars([str(write(tmp_path / "a.tar", b""))], places, ["empty", "huge"])
    for index, message in enumerate(["empty: empty", "huge: more than the limit"]):
        with pytest.raises(ImageError, match=message):
            read(index)
