"""A small Hugging Face hub on loopback, with faults on demand: it speaks as much of the real API as its clients ask.

Large files are answered as the real hub does: a redirect to another origin, with size and SHA-256 in its headers.
"""

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

API = r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?"
LARGE = 1000  # bytes from which a file is stored apart, as with Git LFS


@dataclass
class Stored:
    """A repository: its commits with their files, and the branches that point to them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Store files as the new head of a branch; the commit is the hash of them all."""
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha


@dataclass
class Fault:
    """Something that goes wrong with the next requests whose path holds `path`."""

    path: str
    times: int
    skip: int = 0  # so many requests go well before
    status: int | None = None  # answer with this instead
    after: int | None = None  # send so many bytes of the body, then end the connection
    reset: bool = False  # end it by a reset
    stall: bool = False  # end it not at all, until the hub ends


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    range: str | None
    authorization: str | None


class Hub:
    """What the server serves and what it was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, Stored] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.port = 0
        self.ended = threading.Event()

    @property
    def endpoint(self) -> str:
        """The address for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def repository(self, name: str) -> Stored:
        """The repository of that name, made if there is none yet."""
        return self.repositories.setdefault(name, Stored())

    def next_fault(self, path: str) -> Fault | None:
        """The fault that a request for this path meets."""
        for fault in self.faults:
            if fault.path in path and fault.times > 0:
                if fault.skip == 0:
                    return fault
                fault.skip -= 1
        return None

    def downloads(self) -> list[Request]:
        """The requests for the content of large files, where the redirect led them."""
        return [request for request in self.requests if request.path.startswith("/content/")]

    def content(self, sha256: str) -> bytes:
        """The content of a large file."""
        commits = (files for stored in self.repositories.values() for files in stored.commits.values())
        contents = (data for files in commits for data in files.values())
        return next(data for data in contents if hashlib.sha256(data).hexdigest() == sha256)

    def asked_for(self, file: str) -> bool:
        """Whether any request named a file of a repository."""
        return any(request.path.endswith(f"/{file}") for request in self.requests)


@contextmanager
def serve() -> Iterator[Hub]:
    """A running hub, ended on exit."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(
            Request(self.command, path, self.headers.get("Range"), self.headers.get("Authorization"))
        )
        self._fault = self.hub.next_fault(path)
        if self._fault is not None and self._fault.after is None:
            self._fault.times -= 1
            self._send(self._fault.status or 500, b"")
        elif match := re.fullmatch(API, urlsplit(self.path).path):  # quoted, because a revision may hold a slash
            name, what, revision, folder = (unquote(part or "") for part in match.groups())
            self._api(name, what or "revision", revision or "main", folder, body)
        elif match := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):  # without: a model
            self._resolve(match[1], match[2], match[3])
        elif match := re.fullmatch(r"/content/([0-9a-f]+)", path):
            self._send_range(self.hub.content(match[1]), {})
        else:
            self._send(404, b"")

    def _commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        stored = self.hub.repositories.get(name)
        if stored is None:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        sha = stored.branches.get(revision, revision)
        if sha not in stored.commits:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return None
        return sha, stored.commits[sha]

    def _api(self, name: str, what: str, revision: str, folder: str, body: bytes) -> None:
        if (found := self._commit(name, revision)) is None:
            return
        sha, files = found
        if what == "revision":
            siblings = [{"rfilename": file} for file in files]
            answer: Any = {"id": name, "sha": sha, "private": False, "tags": [], "downloads": 0, "siblings": siblings}
        elif what == "tree":
            answer = _tree(files, folder, recursive="recursive=true" in urlsplit(self.path).query.lower())
        else:
            fields = body.decode()
            paths = json.loads(fields)["paths"] if fields.startswith("{") else re.findall(r"paths=([^&]*)", fields)
            paths = [unquote(path) for path in ([paths] if isinstance(paths, str) else paths)]
            answer = [_entry(path, files[path]) for path in paths if path in files]
            answer += [_folder(path) for path in paths if any(file.startswith(f"{path}/") for file in files)]
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, revision: str, file: str) -> None:
        if (found := self._commit(name, revision)) is None:
            return
        sha, files = found
        headers = {"X-Repo-Commit": sha}
        if self.hub.repositories[name].gated:
            self._send(403, b"", headers | {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        elif file not in files:
            self._send(404, b"", headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        elif len(files[file]) >= LARGE:
            oid = hashlib.sha256(files[file]).hexdigest()
            headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(files[file]))}
            self._send(302, b"", headers | {"Location": f"http://localhost:{self.hub.port}/content/{oid}"})
        else:
            self._send_range(files[file], headers | {"ETag": f'"{_oid(files[file])}"'})

    def _send_range(self, data: bytes, headers: dict[str, str]) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        headers |= {"Accept-Ranges": "bytes"}
        if match is None:
            self._send(200, data, headers)
        else:
            start, end = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            self._send(206, data[start : end + 1], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        fault = self._fault
        if fault is None or fault.after is None or not body:
            self.wfile.write(body)
            return
        fault.times -= 1
        self.wfile.write(body[: fault.after])
        self.wfile.flush()
        self.close_connection = True
        if fault.stall:
            self.hub.ended.wait()
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def _tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    start = f"{folder}/" if folder else ""
    inside = {file: data for file, data in files.items() if file.startswith(start)}
    here = [_entry(file, data) for file, data in inside.items() if recursive or "/" not in file[len(start) :]]
    folders = {start + file[len(start) :].split("/")[0] for file in inside if "/" in file[len(start) :]}
    return here + [_folder(path) for path in sorted(folders)]


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": _oid(data), "size": len(data), "path": path}
    if len(data) >= LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _oid(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
