"""Image formats, recognised by the first bytes of a file."""

from dataclasses import dataclass

from ..support.arguments import checked


@dataclass(frozen=True)
class Format:
    """An image format.

    Attributes:
        name: its common name.
        suffixes: suffixes of file names.

    Example:
        >>> from pnasnet.images import FORMATS
        >>> FORMATS[1]
        Format(name='PNG', suffixes=('.png',))
    """

    name: str
    suffixes: tuple[str, ...]


JPEG = Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"))
PNG = Format("PNG", (".png",))
WEBP = Format("WebP", (".webp",))
GIF = Format("GIF", (".gif",))
BMP = Format("BMP", (".bmp",))
TIFF = Format("TIFF", (".tif", ".tiff"))
AVIF = Format("AVIF", (".avif",))
HEIC = Format("HEIC", (".heic", ".heif"))
JPEG_XL = Format("JPEG XL", (".jxl",))
JPEG_2000 = Format("JPEG 2000", (".jp2", ".j2k", ".j2c", ".jpf", ".jpx"))

FORMATS = (JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIC, JPEG_XL, JPEG_2000)

_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF8", GIF),
    (b"BM", BMP),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"\xff\x0a", JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
)
_BRANDS = {
    brand: found
    for found, brands in (
        (AVIF, (b"avif", b"avis")),
        (HEIC, (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf")),
    )
    for brand in brands
}


@checked
def format_of(head: bytes) -> Format | None:
    """Return the format of a file from its first 32 bytes, or None if the format is unknown.

    Example:
        >>> from pnasnet.images import format_of, read_file
        >>> format_of(read_file("photos/coffee.jpg")[:32]).name
        'JPEG'
    """
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4]), len(head), 32)
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, end - 3, 4))]
    known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return AVIF if AVIF in known else known[0] if known else None
