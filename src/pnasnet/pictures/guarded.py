"""Sessions of aiohttp, for random access over HTTP, that lead to allowed hosts only, as `support.http.get` does."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any

from ..support import http


def guarded_client(allowed: frozenset[str], proxied: bool) -> Callable[..., Awaitable[Any]]:
    """Return a function that creates sessions which refuse other hosts than `allowed` and private addresses.

    Redirects are checked before they are followed, and addresses when they are looked up, but not the first host. If
    all requests are `proxied`, no address is checked: only the proxy's own is looked up here.
    """
    import aiohttp

    class Resolver(aiohttp.ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_UNSPEC) -> Any:
            found = await super().resolve(host, port, family)
            for each in found:
                http.check_address(each["host"], allowed)
            return found

    async def check_redirect(session: Any, context: Any, redirect: Any) -> None:
        headers = redirect.response.headers
        if target := headers.get("Location") or headers.get("URI"):
            place = redirect.url.join(type(redirect.url)(target))  # parsed as aiohttp will
            http.check_host(place.host, allowed)

    async def create(**options: Any) -> Any:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(check_redirect)
        connector = aiohttp.TCPConnector(resolver=None if proxied else Resolver())
        return aiohttp.ClientSession(connector=connector, trace_configs=[trace], **options)

    return create
