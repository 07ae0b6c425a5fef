"""A hub of this machine: what huggingface_hub asks of it to create, upload to and read a model.

Files that a commit brings are kept in memory by commit; large ones pass by LFS's basic transfer.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pipeline.ground.code import ROOT
from tests.patience import PATIENCE_S

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub(ThreadingHTTPServer):
    """``files`` by repository and path; ``private`` has the repositories that were made so."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.private: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path.startswith("/api/models/"):
            name = "/".join(path.split("/")[3:5])
            return self._known(name, path.split("/")[5:])
        name, _, rest = path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        content = self.server.files.get(name, {}).get(file)
        if content is None or revision not in ("main", COMMIT):
            return self._answer({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest()
        return self._send(content, 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        content = self._body()
        self.server.objects[self.path.split("/")[-1]] = content
        self._send(b"", 200, {})

    def do_POST(self) -> None:
        path, body = unquote(self.path.partition("?")[0]), self._body()
        if path == "/api/repos/create":
            asked = json.loads(body)
            owner = asked.get("organization")
            name = f"{owner}/{asked['name']}" if owner else asked["name"]
            self.server.files.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.server.private.add(name)
            return self._answer({"url": f"{self.server.url}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            large = {one["path"]: one["path"].endswith(".safetensors") for one in asked}
            modes = {True: "lfs", False: "regular"}
            told = [
                {"path": name, "uploadMode": modes[large[name]], "shouldIgnore": False}
                for name in large
            ]
            return self._answer({"files": told})
        if path.endswith("/info/lfs/objects/batch"):
            asked = json.loads(body)["objects"]
            for one in asked:
                href = f"{self.server.url}/objects/{one['oid']}"
                one["actions"] = {"upload": {"href": href, "header": {}}}
            return self._answer({"transfer": "basic", "objects": asked})
        if "/commit/" in path:
            name = "/".join(path.split("/")[3:5])
            self._commit(name, body)
            url = f"{self.server.url}/{name}/commit/{COMMIT}"
            return self._answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
        return self._answer({"error": f"no {path}"}, 404)

    def _commit(self, name: str, body: bytes) -> None:
        held = self.server.files[name]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                held[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                held[value["path"]] = self.server.objects[value["oid"]]

    def _known(self, name: str, rest: list[str]) -> None:
        held = self.server.files.get(name)
        if held is None or (rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT)):
            return self._answer({"error": "not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            files = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in held.items()
            ]
            return self._answer(files)
        siblings = [{"rfilename": path, "size": len(held[path])} for path in sorted(held)]
        return self._answer({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        told = {"Content-Type": "application/json", **(headers or {})}
        self._send(json.dumps(value).encode(), status, told)

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers meanwhile, at a port of its own."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


def ser(
    hub: Hub, place: Path, *words: str, offline: bool = False
) -> "subprocess.CompletedProcess[str]":
    """`ser` as its user starts it, far from any project, with a cache of its own."""
    place.mkdir(exist_ok=True)
    told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "hf"), "HF_TOKEN": "hf_x"}
    told |= {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT), "SER_CACHE": str(place / "own")}
    told |= {"HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    told |= dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), str(PATIENCE_S))
    command = [sys.executable, "-m", "pipeline.cli.main", *words]
    return subprocess.run(
        command, cwd=place, env=os.environ | told, capture_output=True, text=True, check=False
    )
