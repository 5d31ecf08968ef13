"""A server on this machine that speaks the part of the Hub's API that pushing and pulling takes.

Small text files lie in git, others in LFS, as on the Hub. A commit is taken whole or not at all,
and only if all that it names was uploaded.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"
OWNER = "ann"
REPOSITORY = r"(?P<kind>datasets|models)/(?P<name>[\w.-]+/[\w.-]+)"


@dataclass
class Hosted:
    """A repository: the files of each commit, in their order."""

    commits: list[tuple[str, dict[str, bytes]]]
    private: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        wanted = self.commits[-1][0] if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit[0] == wanted), None)

    def add(self, files: dict[str, bytes]) -> str:
        told = [(name, hashlib.sha1(data).hexdigest()) for name, data in sorted(files.items())]
        text = json.dumps([len(self.commits), told])
        self.commits.append((hashlib.sha1(text.encode()).hexdigest(), files))
        return self.commits[-1][0]


@dataclass
class Hub:
    """The server and what it holds.

    Attributes:
        repositories: by kind and name, `datasets/ann/labels`.
        drop: upload at which the connection breaks off, for good, until it is set back.
        before_commit: called once a commit is asked for, before it is looked at.
        asked: method and path of each request.
    """

    endpoint: str = ""
    repositories: dict[str, Hosted] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    drop: bool = False
    before_commit: Callable[[], Any] = lambda: None
    asked: list[str] = field(default_factory=list)

    def make(self, place: str, files: dict[str, bytes]) -> Hosted:
        made = self.repositories[place] = Hosted([])
        made.add({".gitattributes": b"*.safetensors filter=lfs\n"})
        if files:
            made.add(made.files | files)
        return made


def in_lfs(name: str, data: bytes) -> bool:
    return name.endswith((".safetensors", ".parquet", ".pt")) or len(data) > 2**20


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(data: bytes) -> bytes:
    sha = hashlib.sha256(data).hexdigest()
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(data)}\n".encode()
    )


class Refused(Exception):
    """What the server does not do; `error` is its name for the Hub's clients."""

    def __init__(self, code: int, message: str, error: str = "") -> None:
        self.code, self.message, self.error = code, message, error


class Answers(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, value: Any = None, code: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", headers.pop("length", "") or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.take()

    def do_GET(self) -> None:
        self.take()

    def do_POST(self) -> None:
        self.take()

    def do_PUT(self) -> None:
        self.take()

    def take(self) -> None:
        """Answer, or say why not."""
        url = urlsplit(self.path)
        self.hub.asked.append(f"{self.command} {url.path}")
        length = int(self.headers.get("Content-Length", 0))
        if self.hub.drop and self.command == "PUT":
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        try:
            self.route(url.path, self.rfile.read(length))
        except Refused as error:
            named = {"X_Error_Code": error.error} if error.error else {}
            told = {"error": error.message}
            self.answer(told, error.code, X_Error_Message=error.message, **named)

    def route(self, path: str, body: bytes) -> None:
        if self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            raise Refused(401, "Invalid credentials in Authorization header")
        resolve = "resolve/(?P<revision>[^/]+)/(?P<file>.+)"
        name = r"(?P<name>[^/]+/[^/]+)"
        routes: list[tuple[str, str, Callable[..., None]]] = [
            ("PUT", "/lfs/(?P<oid>[0-9a-f]+)", self.upload),
            ("POST", "/api/repos/create", self.create),
            ("POST", "/api/validate-yaml", self.validate),
            ("GET", f"/api/{REPOSITORY}(/revision/(?P<revision>[^/]+))?", self.info),
            ("GET", f"/api/{REPOSITORY}/tree/(?P<revision>[^/]+)", self.tree),
            ("POST", f"/api/{REPOSITORY}/preupload/(?P<revision>[^/]+)", self.preupload),
            ("POST", f"/api/{REPOSITORY}/commit/(?P<revision>[^/]+)", self.commit),
            ("POST", rf"/(datasets/)?{name}\.git/info/lfs/objects/batch", self.batch),
            ("GET", f"/{REPOSITORY}/{resolve}", self.resolve),
            ("GET", f"/{name}/{resolve}", self.resolve),
        ]
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, take in routes:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                take(body, **{k: unquote(v) for k, v in found.groupdict().items() if v})
                return
        raise Refused(404, f"no route {self.command} {path}")

    def hosted(self, kind: str, name: str) -> Hosted:
        """The repository, if this user may see it."""
        found = self.hub.repositories.get(f"{kind}/{name}")
        known = self.headers.get("Authorization") is not None
        if found is None or (found.private and not known):
            raise Refused(404 if known else 401, "Repository not found", "RepoNotFound")
        return found

    def check_may_write(self, owner: str) -> None:
        if self.headers.get("Authorization") is None:
            raise Refused(401, "Invalid username or password.")
        if owner != OWNER:
            raise Refused(403, f"You don't have the rights under the namespace {owner}")

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        owner = asked.get("organization") or OWNER
        self.check_may_write(owner)
        place = f"{asked['type']}s/{owner}/{asked['name']}"
        if place in self.hub.repositories:
            raise Refused(409, "You already created this repo")
        self.hub.make(place, {}).private = asked.get("visibility") == "private" or bool(
            asked.get("private")
        )
        self.answer({"url": f"{self.hub.endpoint}/{place}"})

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        if content.startswith("---\n") and "\n---\n" not in content[4:]:
            self.answer({"errors": [{"message": "front matter has no end"}]}, 400)
        else:
            self.answer({"errors": [], "warnings": []})

    def info(self, body: bytes, kind: str, name: str, revision: str = "main") -> None:
        found = self.hosted(kind, name)
        there = found.at(revision)
        if there is None:
            raise Refused(404, "Invalid rev id", "RevisionNotFound")
        files = [{"rfilename": file} for file in there[1]]
        self.answer(
            {"id": name, "sha": there[0], "private": found.private, "siblings": files, "tags": []}
        )

    def tree(self, body: bytes, kind: str, name: str, revision: str) -> None:
        found = self.hosted(kind, name)
        if found is None:
            return
        there = found.at(revision)
        assert there is not None
        entries = []
        for file, data in sorted(there[1].items()):
            entry: dict[str, Any] = {"type": "file", "path": file, "size": len(data)}
            entry["oid"] = blob(data)
            if in_lfs(file, data):
                sha = hashlib.sha256(data).hexdigest()
                entry["oid"] = blob(pointer(data))
                entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": len(pointer(data))}
            entries.append(entry)
        self.answer(entries)

    def preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        found = self.hosted(kind, name)
        self.check_may_write(name.split("/")[0])
        files = []
        for asked in json.loads(body)["files"]:
            path, held = asked["path"], found.files.get(asked["path"])
            large = in_lfs(path, b"") or asked["size"] > 2**20
            files.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": held and (hashlib.sha256(held).hexdigest() if large else blob(held)),
                }
            )
        self.answer({"files": files})

    def batch(self, body: bytes, name: str) -> None:
        self.check_may_write(name.split("/")[0])
        objects = []
        for asked in json.loads(body)["objects"]:
            told = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.stored:
                told["actions"] = {
                    "upload": {"href": f"{self.hub.endpoint}/lfs/{asked['oid']}", "header": {}}
                }
            objects.append(told)
        self.answer({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "other bytes")
        self.hub.stored[oid] = body
        self.answer(b"")

    def commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        found = self.hosted(kind, name)
        self.check_may_write(name.split("/")[0])
        self.hub.before_commit()
        files = dict(found.files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                if value.get("parentCommit") not in (None, found.commits[-1][0]):
                    raise Refused(412, "A commit has happened since.")
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile" and value["oid"] in self.hub.stored:
                files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                raise Refused(400, f"cannot take {value['path']}")
        oid = found.add(files)
        self.answer(
            {"commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{kind}/{name}/commit/{oid}"}
        )

    def resolve(
        self, body: bytes, name: str, revision: str, file: str, kind: str = "models"
    ) -> None:
        found = self.hosted(kind, name)
        there = found.at(revision)
        if there is None:
            raise Refused(404, "Invalid rev id", "RevisionNotFound")
        commit, files = there
        if file not in files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        data = files[file]
        etag = hashlib.sha256(data).hexdigest() if in_lfs(file, data) else blob(data)
        self.answer(data, ETag=f'"{etag}"', X_Repo_Commit=commit)


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub that answers as long as the context lasts."""
    hub = Hub()
    handler = type("Answering", (Answers,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
