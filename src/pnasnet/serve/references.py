"""Images that JSON refers to: data URIs and, on hosts that the operator allows, URLs; never files of the server."""

import asyncio
import threading
import urllib.parse
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..support import http
from ..support.text import clean
from ..support.urls import is_http, redact
from .errors import ServeError
from .limits import ServerLimits
from .values import from_base64

_THREADS = 4
_MAX_SHOWN = 200


class References:
    """Fetches the images that requests refer to. URLs are fetched from `hosts` only."""

    def __init__(self, limits: ServerLimits, hosts: Collection[str] = ()) -> None:
        self._limits, self._hosts = limits, frozenset(hosts)
        self._pool = ThreadPoolExecutor(_THREADS, "urls")

    async def resolve(self, texts: Sequence[str]) -> list[bytes]:
        """Return the bytes of the image at each data URI or URL.

        Raises `ServeError` if there are too many or an image cannot be fetched, or if together they have more bytes
        than a request's body may have.
        """
        self._limits.check_images(len(texts))
        images, left = list[bytes](), self._limits.body
        for text in texts:
            images.append(await self._resolve(text, left))
            left -= len(images[-1])
        return images

    async def _resolve(self, text: str, most: int) -> bytes:
        if text[:5].lower() == "data:":
            return _data(text)
        if not is_http(text):
            raise ServeError("an image must be a data URI, such as data:image/jpeg;base64,...: text cannot be embedded")
        if not self._hosts:
            raise ServeError("images at URLs are not fetched: send a data URI, such as data:image/jpeg;base64,...")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._fetch, text, most)

    def _fetch(self, url: str, most: int) -> bytes:
        shown = clean(redact(url))[:_MAX_SHOWN]
        try:
            response = http.get(url, allowed=self._hosts, most_redirects=0)
            timer = threading.Timer(self._limits.body_seconds, response.shutdown)
            timer.start()
            try:
                data = http.read_all(response, most + 1)
            finally:
                timer.cancel()
        except Exception as error:  # urllib3's errors and the system's have no common class
            raise ServeError(f"{shown} cannot be fetched: {http.reason(error)}") from error
        if len(data) > most:
            raise ServeError(f"{shown} has more bytes than a request may have", 413)
        return data

    def close(self) -> None:
        """Drop queued downloads; running ones end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _data(uri: str) -> bytes:
    """Return the bytes of a data URI. Raises `ServeError`."""
    kind, comma, data = uri[5:].partition(",")
    if not comma:
        raise ServeError("a data URI has a comma before its data: data:image/jpeg;base64,...")
    if kind.lower().endswith(";base64"):
        return from_base64(urllib.parse.unquote(data) if "%" in data else data, "the data of a data URI")
    return urllib.parse.unquote_to_bytes(data)
