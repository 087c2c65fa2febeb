"""Removes metadata from JPEG and PNG files, so that damaged metadata does not matter."""

import re
import zlib
from collections.abc import Iterator

SCAN = 0xDA
"""The JPEG marker that begins a scan."""

_MARKER = re.compile(b"\xff+[\x02-\xcf\xd8-\xfe]", re.DOTALL)  # except those that occur within a scan
_BEGIN, _END = 0xD8, 0xD9
_KEPT_APPS = (0xE0, 0xEE)  # JFIF and Adobe, which state the colour space
_MAX_STRAY = 2**16

_PNG_START = 8
_PNG_KEPT = (b"tRNS", b"eXIf", b"acTL")


def segments(data: bytes, reach: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Yield marker, start, start of the content and end of each segment of a JPEG file, up to its end marker.

    Bytes between segments, such as the pixels of a scan, are skipped; more than `reach` of them end the search.
    Segments within segments, as of a thumbnail, and segments after the end marker, as of a video, are not found.
    """
    end, reach = 2, len(data) if reach is None else reach
    while found := _MARKER.search(data, end, end + reach):
        marker, content = found[0][-1], found.end()
        has_length = marker not in (_BEGIN, _END)
        end = content + max(int.from_bytes(data[content : content + 2]), 2) if has_length else content
        yield marker, found.start(), content, end
        if marker == _END:
            return


def plain_jpeg(data: bytes) -> bytes:
    """Return a JPEG file without profiles, thumbnails, comments and stray bytes in its header. EXIF is kept.

    Raises ValueError if the header has no scan.
    """
    kept = [data[:2]]
    for marker, start, content, end in segments(data, _MAX_STRAY):
        if marker in (SCAN, _END):
            return b"".join([*kept, data[start:]])
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        is_exif = marker == 0xE1 and data[content + 2 : content + 8] == b"Exif\0\0"
        if not is_metadata or is_exif or marker in _KEPT_APPS:
            kept.append(data[start:end])
    raise ValueError("no image data after the header")


def plain_png(data: bytes) -> bytes:
    """Return a PNG file without chunks that do not affect its pixels, such as profiles and texts. EXIF is kept."""
    kept, position = [data[:_PNG_START]], _PNG_START
    while len(head := data[position : position + 8]) == 8:
        kind, end = head[4:], position + 12 + int.from_bytes(head[:4])
        chunk = data[position:end]
        is_critical = not kind[0] & 0x20
        if is_critical or (kind in _PNG_KEPT and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])):
            kept.append(chunk)
        position = end
        if kind == b"IEND":
            break
    return b"".join(kept)
