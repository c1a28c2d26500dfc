"""A hub for models on this machine: it takes commits and serves files, as far as the real client asks."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelHub:
    """What the hub holds: the files of each repository, and the bearer of its last commit."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.token = "secret"
        self.endpoint = ""

    def commit(self, repository: str) -> str:
        """The name of the repository's newest state."""
        content = b"".join(name.encode() + data for name, data in sorted(self.files[repository].items()))
        return hashlib.sha1(content).hexdigest()


@contextmanager
def serve() -> Iterator[ModelHub]:
    """A running hub, ended on exit."""
    hub = ModelHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: ModelHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^?]+)?(\?.*)?", self.path):
            name = found[1]
            if name not in self.hub.files:
                self._error(404, "RepoNotFound", "Repository not found")
                return
            siblings = [{"rfilename": file} for file in self.hub.files[name]]
            self._json({"id": name, "sha": self.hub.commit(name), "siblings": siblings, "private": False, "tags": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^?]+(\?.*)?", self.path):
            files = self.hub.files[found[1]].items()
            self._json(
                [{"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()} for n, d in files]
            )
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/([^?]+)(\?.*)?", self.path):
            data = self.hub.files.get(found[1], {}).get(found[2])
            if data is None:
                self._error(404, "EntryNotFound", "Entry not found")
                return
            self._send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": self._sha(found[1])})
        else:
            self._error(404, "EntryNotFound", self.path)

    do_HEAD = do_GET  # noqa: N815 (the name that the library asks for)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._error(401, "Unauthorized", "Invalid credentials")
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.files.setdefault(name, {})
            self.hub.private.setdefault(name, asked.get("visibility") == "private" or bool(asked.get("private")))
            self._json({"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name})
        elif self.path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._json({"files": [file | {"shouldIgnore": False} for file in files]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.hub.files[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            sha = self._sha(found[1])
            address = f"{self.hub.endpoint}/{found[1]}/commit/{sha}"
            self._json({"success": True, "commitOid": sha, "commitUrl": address})
        else:  # such as /api/validate-yaml
            self._json({"errors": [], "warnings": []})

    def _sha(self, name: str) -> str:
        return self.hub.commit(name)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
