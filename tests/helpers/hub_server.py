"""A small server that answers `huggingface_hub`'s client as the Hub does: repositories of files, commits, downloads."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Files by repository and path, and what was asked for."""

    address: str = ""
    token: str | None = None
    """The token that writing needs; None for any."""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        """The last commit's hash: another after each."""
        return hashlib.sha1(repr(self.messages).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        repository, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/resolve/")
        content = self.hub.repositories.get(repository, {}).get(rest.partition("/")[2])
        if content is None:
            code = "EntryNotFound" if repository in self.hub.repositories else "RepoNotFound"
            self._send(404, b"", {"X-Error-Code": code, "X-Error-Message": "not found"})
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._send(200, content, {"ETag": etag, "X-Repo-Commit": self.hub.commit})

    def do_POST(self) -> None:
        body = self._body()
        if self.hub.token and self.headers["Authorization"] != f"Bearer {self.hub.token}":
            self._json({"error": "Invalid credentials"}, 401)
            return
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.repositories.setdefault(name, {})
            self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            self._json({"url": f"{self.hub.address}/{name}", "name": name, "id": name})
            return
        name, what = "/".join(parts[2:4]), parts[4] if len(parts) > 4 else ""
        if what == "preupload":
            files = [each["path"] for each in json.loads(body)["files"]]
            self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in files]})
        elif what == "commit":
            self._commit(name, [json.loads(line) for line in body.splitlines()])
        else:
            self._json({"status": "ok", "warnings": [], "errors": []})  # validation of a card's metadata

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            else:
                self.hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.hub.address}/{name}/commit/{self.hub.commit}"
        self._json({"commitUrl": url, "commitOid": self.hub.commit, "success": True})


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve on a free port of this machine for as long as the `with` statement lasts."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
