"""Images from a request's body: a multipart form, or a single image."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ..support.text import clean
from .errors import ServeError
from .responses import body_of

_MAX_NAME = 200


@dataclass(frozen=True)
class Upload:
    """An encoded image, and its file name from the client, cleaned."""

    name: str
    data: bytes


class _FormParser(MultiPartParser):
    """A parser of bodies in memory, which it does not spool to disk.

    Attributes:
        ended: whether the form's last boundary was found.
    """

    spool_max_size = 1 << 62
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def read_images(request: Request, most: int) -> list[Upload]:
    """Return the images of a request: the files of a multipart form, or the body itself.

    Raises `ServeError` if a form is damaged, truncated, or has other fields or more than `most` files; and if the body
    is empty or JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = body_of(request)
    if kind == "multipart/form-data":
        return await _read_form(request, body, most)
    if kind == "application/json":
        raise ServeError("this path accepts images, not JSON: send the bytes of an image, or a multipart form", 415)
    if not body:
        raise ServeError("the body is empty: send the bytes of an image, or a multipart form with images")
    return [Upload("", body)]


async def _read_form(request: Request, body: bytes, most: int) -> list[Upload]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        if body and not parser.ended:  # the parser would silently drop an unfinished part
            raise MultiPartException("its last boundary is missing")

    parser = _FormParser(request.headers, stream(), max_files=most, max_fields=0)
    try:
        form = await parser.parse()
    except UnicodeError as error:  # the client chooses the charset, and some of Python's codecs decode no text
        raise ServeError("the names in the multipart form are not in its charset: send UTF-8") from error
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise ServeError(f"the form has more than {most} images: send at most {most} at a time", 413) from None
        if "Too many fields" in error.message:
            reason = "the form has a field that is not a file: send images as files, as curl -F image=@a.jpg does"
            raise ServeError(reason) from None
        raise ServeError(f"the multipart form is damaged: {error.message}") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        return [Upload(clean(file.filename or "")[:_MAX_NAME], await file.read()) for file in files]
    finally:
        await form.close()
