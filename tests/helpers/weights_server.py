"""A local HTTP server of files that can be set to misbehave, one request after the other."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pnasnet.architecture.zoo import PublishedWeights

CONTENT = bytes(range(256)) * 2000
HEAD = hashlib.sha256(CONTENT).hexdigest()[:8]


@dataclass(frozen=True)
class Reply:
    """How to answer one request; by default, correctly."""

    status: int = 200
    ends_after: int | None = None
    """Bytes of the body after which the connection ends."""
    stalls: bool = False
    """Whether the connection stays open without sending anything after the body."""
    announced: int | str | None = None
    """The length announced; None for the true one, -1 for none."""
    ranges: bool = True
    range_shift: int = 0
    """Offset between the requested and the sent position of a resumed body."""
    etag: str | None = None
    """The version announced; None for the true one, empty for none."""
    body: bytes | None = None
    """Bytes to send instead of the file."""
    endless: bool = False
    """Whether endless zeros follow the body."""


@dataclass
class Request:
    method: str
    path: str
    range: str | None
    if_range: str | None


@dataclass
class FileServer:
    """Files by path, and the replies to the next requests; later ones are answered correctly."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    extra_headers: dict[str, str] = field(default_factory=dict)
    refusal: tuple[int, dict[str, str]] | None = None
    """Status and headers with which every request is refused."""
    before_body: Callable[[], object] = lambda: None
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def ranges(self) -> list[str | None]:
        return [request.range for request in self.requests]


class Terminal(io.StringIO):
    """A standard error to which progress is shown."""

    def isatty(self) -> bool:
        return True


def etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    files: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        wanted, wanted_if = self.headers["Range"], self.headers["If-Range"]
        self.files.requests.append(Request(self.command, self.path, wanted, wanted_if))
        replies = self.files.replies
        reply = replies.pop(0) if replies and self.command == "GET" else Reply()
        content = self.files.files.get(self.path)
        if self.files.refusal:
            self._refuse(*self.files.refusal)
            return
        if content is None or reply.status != 200:
            self.send_error(404 if content is None else reply.status)
            return
        version = etag(content) if reply.etag is None else reply.etag
        start = 0
        if wanted and reply.ranges and wanted_if in (None, version):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self._send(reply, content, start, version, partial=bool(start))

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, reply: Reply, content: bytes, start: int, version: str, *, partial: bool) -> None:
        body = (content if reply.body is None else reply.body)[start:]
        self.send_response(206 if partial else 200)
        if partial:
            first = start + reply.range_shift
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if reply.announced != -1:
            self.send_header("Content-Length", str(reply.announced or len(body)))
        if version:
            self.send_header("ETag", version)
        for name, value in self.files.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(ConnectionError):
            self.files.before_body()
            self.wfile.write(body[: reply.ends_after])
            while reply.endless:
                self.wfile.write(bytes(2**16))
            if reply.stalls:
                self.files.closing.wait(120)


@contextmanager
def serve() -> Iterator[FileServer]:
    """Serve on a free port of this machine for as long as the `with` statement lasts."""
    files = FileServer()
    handler = type("Handler", (_Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        files.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield files
        finally:
            files.closing.set()
            server.shutdown()
            thread.join()


def tar(*files: Path, prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for file in files:
            archive.add(file, f"{prefix}{file.name}")
    return out.getvalue()


def record(location: str, sha256_head: str = "") -> PublishedWeights:
    return PublishedWeights("some-net", "somebody", location, "imagenet1001", sha256_head=sha256_head)


def pth(server: FileServer, sha256_head: str = HEAD) -> PublishedWeights:
    return record(f"{server.address}/net.pth", sha256_head)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 900
