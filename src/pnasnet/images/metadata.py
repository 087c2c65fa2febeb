"""JPEG and PNG files without what lies beside their pixels, so that damage there does not matter."""

import re
import zlib

_MARKER = re.compile(b"\xff+[\x02-\xcf\xd8-\xfe]", re.DOTALL)
_SCAN, _END = 0xDA, 0xD9
_KEPT_APPS = (0xE0, 0xEE)  # JFIF and Adobe, which say what the colours are
_MAX_STRAY = 2**16

_PNG_START = 8
_PNG_KEPT = (b"tRNS", b"eXIf", b"acTL")


def plain_jpeg(data: bytes) -> bytes:
    """Return a JPEG file without profiles, thumbnails and comments; the EXIF segment stays.

    Raises ValueError if no picture is found: that is known without searching a large file byte by byte.
    """
    kept, position = [data[:2]], 2
    while found := _MARKER.search(data, position, position + _MAX_STRAY):
        stray, end, marker = data[position : found.start()], found.end(), found[0][-1]
        kept.append(stray)
        if marker in (_SCAN, _END):
            return b"".join([*kept, data[found.start() :]])
        position = end if marker == 0xD8 else end + max(int.from_bytes(data[end : end + 2]), 2)
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        is_exif = marker == 0xE1 and data[end + 2 : end + 8] == b"Exif\0\0"
        if not is_metadata or is_exif or marker in _KEPT_APPS:
            kept.append(data[found.start() : position])
    raise ValueError("no picture behind its first bytes")


def plain_png(data: bytes) -> bytes:
    """Return a PNG file without chunks that do not change its pixels, such as profiles and texts; EXIF stays."""
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
