"""As much of a model hub as huggingface_hub asks for to push and pull small files: repositories in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Files = dict[str, bytes]
REPOSITORY = r"([\w.-]+/[\w.-]+)"


class HubServer(ThreadingHTTPServer):
    """`repositories`: for each name its revisions by hash, of which the last is `main`. `refuses`: a status with which
    everything is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Files]] = {}
        self.refuses: int | None = None
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, name: str, files: Files) -> str:
        revision = hashlib.sha1(repr((len(self.repositories[name]), sorted(files.items()))).encode()).hexdigest()
        self.repositories[name][revision] = files
        return revision

    def revision(self, name: str, wanted: str) -> str | None:
        revisions = self.repositories.get(name, {})
        return next(reversed(revisions), None) if wanted == "main" else wanted if wanted in revisions else None


@contextmanager
def hub() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        if self.server.refuses is not None:
            self._say(self.server.refuses, {"error": "refused"})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._say(200, {"errors": [], "warnings": []})
        elif match := re.fullmatch(rf"/api/models/{REPOSITORY}/(preupload|commit|tree|revision)/([\w.-]+)", path):
            self._repository(match[1], match[2], match[3], body)
        elif match := re.fullmatch(rf"/api/models/{REPOSITORY}", path):
            self._repository(match[1], "revision", "main", body)
        elif match := re.fullmatch(rf"/{REPOSITORY}/resolve/([\w.-]+)/([\w./-]+)", path):
            self._file(*match.groups())
        else:
            self._say(404, {"error": f"this stub does not know {self.command} {path}"})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        is_new = name not in self.server.repositories
        if is_new:
            self.server.repositories[name] = {}
            self.server.commit(name, {".gitattributes": b""})
        said = {"url": f"{self.server.endpoint}/{name}", "name": name, "id": name}
        self._say(200 if is_new else 409, said)

    def _repository(self, name: str, what: str, wanted: str, body: bytes) -> None:
        revision = self.server.revision(name, wanted)
        if revision is None:
            code = "RepoNotFound" if name not in self.server.repositories else "RevisionNotFound"
            self._say(404, {"error": code}, {"X-Error-Code": code})
            return
        files = self.server.repositories[name][revision]
        if what == "preupload":  # small files of any kind go along with the commit
            self._say(200, {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                      for file in json.loads(body)["files"]]})
        elif what == "commit":
            files = dict(files)
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            revision = self.server.commit(name, files)
            self._say(200, {"commitUrl": f"{self.server.endpoint}/{name}/commit/{revision}", "commitOid": revision})
        elif what == "tree":
            self._say(200, [{"type": "file", "path": path, "size": len(content), "oid": _sha1(content)}
                            for path, content in files.items()])
        else:
            self._say(200, {"id": name, "modelId": name, "sha": revision, "private": False, "tags": [], "siblings": [
                {"rfilename": path, "size": len(content), "blobId": _sha1(content)}
                for path, content in files.items()]})

    def _file(self, name: str, wanted: str, path: str) -> None:
        revision = self.server.revision(name, wanted)
        content = self.server.repositories.get(name, {}).get(revision or "", {}).get(path)
        if revision is None or content is None:
            self._say(404, {"error": "EntryNotFound"}, {"X-Error-Code": "EntryNotFound"})
            return
        self._send(200, content, {"ETag": f'"{_sha1(content)}"', "X-Repo-Commit": revision})

    def _say(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
