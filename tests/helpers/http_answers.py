"""An HTTP server on this machine, each of whose paths is answered by a function."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Handler = BaseHTTPRequestHandler
Answer = Callable[[Handler], None]


@contextmanager
def http_server(
    answers: dict[str, Answer], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve paths by functions; as a proxy, whole URLs, or HOST:PORT to connect to."""

    class Serving(Handler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            answer = answers.get(self.path)
            if answer is None:
                self.send_error(404)
            else:
                answer(self)

        do_HEAD = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            """Say nothing about clients that do not trust the certificate."""

    with Server((host, 0), Serving) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        yield f"http{'s' if tls else ''}://{shown}:{server.server_address[1]}"
        server.shutdown()


def body(content: bytes, length: int | None = None) -> Answer:
    """Answer with content, and say that it has `length` bytes."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)
            if length is not None:
                handler.close_connection = True

    return answer


def redirect(target: str) -> Answer:
    """Answer with a redirect."""

    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def ranges(content: bytes) -> Answer:
    """Answer with the bytes that are asked for."""

    def answer(handler: Handler) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers["Range"] or "")
        start, end = (int(found[1]), int(found[2] or len(content) - 1)) if found else (0, len(content) - 1)
        part = content[start : end + 1]
        handler.send_response(206 if found else 200)
        if found:
            handler.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(part)

    return answer


def tunnel(port: int) -> Answer:
    """Answer CONNECT by a connection to a port of this machine, whatever host was asked for."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # either end may hang up
            while data := source.recv(2**16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=copy, args=(server, handler.connection))
            back.start()
            copy(handler.connection, server)
            back.join()

    return answer
