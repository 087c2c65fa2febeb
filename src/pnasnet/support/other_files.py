"""Files that are given in place of images or weights by mistake, recognised by their first bytes."""

from dataclasses import dataclass

FIRST = 512
"""Number of bytes that tell what a file is: a tar says so at byte 257."""


@dataclass(frozen=True)
class OtherFile:
    """A kind of file that is neither an image nor weights, or an archive that may hold them.

    Attributes:
        name: what it is, with an article.
        advice: what to do with it in place of an image.
        for_weights: what to do with it in place of weights; empty if it cannot hold any.
        compressed: whether it holds another file, compressed, which may be a tar.
    """

    name: str
    advice: str
    for_weights: str = ""
    compressed: bool = False


def _compressed(program: str, suffix: str) -> OtherFile:
    advice = f"unpack it; if it is a tar, name it {suffix}"
    return OtherFile(f"a file compressed by {program}", advice, "unpack it", compressed=True)


def _either(name: str, advice: str) -> OtherFile:
    """Return a kind of file with which the same is done in place of images and of weights."""
    return OtherFile(name, advice, advice)


_UNPACK = "unpack it and pass the folder"
_PAGE = "a server may have sent it instead of the file; get the file again"
ZIP = OtherFile("a zip file", f"name it .zip, or {_UNPACK}", _UNPACK)
TAR = OtherFile("a tar", f"name it .tar, or {_UNPACK}", _UNPACK)
PARQUET = OtherFile("a Parquet file", "name it .parquet")
_VIDEO = OtherFile("a video", "extract images from it")

_MAGIC = (
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PAR1", PARQUET),
    (b"7z\xbc\xaf\x27\x1c", _either("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", _either("a RAR archive", _UNPACK)),
    (b"070701", _either("a cpio archive", _UNPACK)),
    (b"070707", _either("a cpio archive", _UNPACK)),
    (b"\x1f\x8b", _compressed("gzip", ".tar.gz")),
    (b"BZh", _compressed("bzip2", ".tar.bz2")),
    (b"\xfd7zXZ\0", _compressed("xz", ".tar.xz")),
    (b"\x28\xb5\x2f\xfd", _compressed("zstd", ".tar.zst")),
    (b"\x89HDF\r\n\x1a\n", OtherFile("an HDF5 file", "write its images to files, or to a Parquet file")),
    (b"\x93NUMPY", OtherFile("a NumPy array", "pass the array to Module.embed, or write its images to files")),
    (b"%PDF-", OtherFile("a PDF", "convert its pages to images")),
    (b"8BPS", OtherFile("a Photoshop file", "convert it to PNG")),
    (b"\x1a\x45\xdf\xa3", _VIDEO),
    (b"\0\x05\x16\x07", OtherFile("metadata of macOS (AppleDouble)", "leave it out")),
    (b"version https://git-lfs", _either("a pointer of Git LFS", "get the file by git lfs pull")),
    (b"/annex/objects/", _either("a pointer of git-annex", "get the file by git annex get")),
)
_VIDEO_BRANDS = (b"iso", b"mp4", b"avc1", b"qt  ", b"M4V", b"3g", b"MSNV", b"dash", b"f4v")
_TEXT = (
    ("<!doctype html", _either("an HTML page", _PAGE)),
    ("<html", _either("an HTML page", _PAGE)),
    ("<svg", OtherFile("an SVG drawing", "convert it to PNG")),
    ("<?xml", _either("an XML document", _PAGE)),
    ('{"', _either("JSON", _PAGE)),
)


def other_file(head: bytes) -> OtherFile | None:
    """Return what a file is from its first `FIRST` bytes if it holds neither an image nor weights, else None."""
    if head[257:262] == b"ustar":
        return TAR
    if (head[4:8] == b"ftyp" and head[8:12].startswith(_VIDEO_BRANDS)) or (
        head.startswith(b"RIFF") and head[8:12] == b"AVI "
    ):
        return _VIDEO
    if len(head) == FIRST and not any(head):
        return _either("only zeros at its beginning", "copy or download it again")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().decode("latin-1")
    if text.startswith(("<?xml", "<!--", "<!doctype svg")) and "<svg" in text:
        text = "<svg"
    found = [kind for magic, kind in _MAGIC if head.startswith(magic)]
    found += [kind for start, kind in _TEXT if text.startswith(start)]
    return found[0] if found else None
