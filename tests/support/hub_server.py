# SPDX-License-Identifier: MIT
"""A hub for the tests: the part of the Hugging Face hub's HTTP interface that fetching uses.

    hub_server.py ROOT

serves ROOT/models/ORG/NAME/... and ROOT/datasets/ORG/NAME/... on 127.0.0.1 and writes its address
to ROOT/address once it listens. Files that end in .safetensors, .bin or .parquet are LFS files:
they are named by SHA-256 and come by a redirect from a second server, as from a CDN; others are
git blobs. Every repository has one commit (its file .commit, else made of its name), which main, v1
and refs/pr/1 name.

ROOT/log gets a line a request: server, method, path, Range, whether a token came. ROOT/faults holds
what to do wrong, a line each, taken off as it happens; a line says for which requests (`api`, `hub`
a file from the hub, `cdn` a file from the CDN) and what:

    cdn cut 1000        1000 bytes of the body, then the connection is closed
    cdn status 503 1    this status, with Retry-After
    hub flip            one byte is another
    cdn short 10        the last 10 bytes are missing, and the length agrees with that
    cdn long            one byte too many
    cdn whole           the whole file, whatever part was asked for
    cdn other           another part than the one asked for
    cdn stall 3         3 seconds of nothing in the middle of the body
    cdn slow            64 KiB a tenth of a second
    api endless         an answer without end

Repositories that are special by their name: `gated` (files need the token hf_good), `private` (all
needs it), and any with a file .siblings.json, which then stands for its list of files.
"""

import hashlib
import http.server
import json
import pathlib
import sys
import threading
import time
import urllib.parse

ROOT = pathlib.Path(sys.argv[1])
LFS = (".safetensors", ".bin", ".parquet")
LOCK = threading.Lock()


def commit_of(repo: pathlib.Path) -> str:
    own = repo / ".commit"
    if own.exists():
        return own.read_text().strip()
    return hashlib.sha1(str(repo.relative_to(ROOT)).encode()).hexdigest()


def blob_of(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection; `self.server.role` is hub or cdn."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        self.answer(status, b"no", X_Error_Code=code, X_Error_Message=message)

    def fault(self, kind: str) -> list[str]:
        """The first fault meant for this kind of request, taken off the list."""
        path = ROOT / "faults"
        with LOCK:
            lines = path.read_text().splitlines() if path.exists() else []
            for number, line in enumerate(lines):
                words = line.split()
                if words[0] == kind:
                    del lines[number]
                    path.write_text("".join(x + "\n" for x in lines))
                    return words[1:]
        return []

    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def do_HEAD(self):  # noqa: N802
        self.do_GET()

    def do_GET(self):  # noqa: N802
        with LOCK, open(ROOT / "log", "a") as log:
            print(
                self.server.role,
                self.command,
                self.path,
                self.headers.get("Range", "-"),
                "token" if self.token() else "-",
                file=log,
            )
        parts = urllib.parse.urlsplit(self.path).path.strip("/").split("/")
        if self.server.role == "cdn":
            self.send_file(ROOT.joinpath(*map(urllib.parse.unquote, parts)), "cdn")
        elif parts[0] == "api":
            self.api(parts[1:])
        else:
            self.resolve(parts)

    def repo(self, kind: str, names: list[str]) -> "pathlib.Path | None":
        path = ROOT / kind / "/".join(names)
        private = names[-1] == "private" and self.token() != "hf_good"
        if self.token() == "hf_bad":
            self.refuse(401, message="Invalid credentials in Authorization header")
        elif private or not path.is_dir():
            self.refuse(401, "RepoNotFound", "Repository not found")
        else:
            return path
        return None

    def is_revision(self, repo: pathlib.Path, revision: str) -> bool:
        if revision in ("main", "v1", "refs/pr/1", commit_of(repo)):
            return True
        self.refuse(404, "RevisionNotFound", "Invalid rev id")
        return False

    def fails(self, fault: list[str]) -> bool:
        if fault[:1] != ["status"]:
            return False
        self.answer(int(fault[1]), b"busy", **({"Retry_After": fault[2]} if fault[2:] else {}))
        return True

    def api(self, parts: list[str]) -> None:
        kind, names, rest = parts[0], parts[1:3], parts[3:]
        repo = self.repo(kind, names)
        fault = self.fault("api")
        if not repo or self.fails(fault):
            return
        if fault[:1] == ["endless"]:
            self.endless()
            return
        revision = urllib.parse.unquote(rest[1]) if rest[1:] else "main"
        if not self.is_revision(repo, revision):
            return
        if rest[:1] == ["tree"]:
            body = [self.describe(repo, f, "tree") for f in self.files(repo)]
        else:
            own = repo / ".siblings.json"
            body = {
                "id": "/".join(names),
                "sha": commit_of(repo),
                "siblings": json.loads(own.read_text())
                if own.exists()
                else [self.describe(repo, f, "info") for f in self.files(repo)],
            }
        self.answer(200, json.dumps(body).encode(), Content_Type="application/json")

    def endless(self) -> None:
        """A list that does not end, for as long as somebody reads it."""
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[")
        while True:
            self.wfile.write(b"7, " * (1 << 18))

    def files(self, repo: pathlib.Path) -> list[pathlib.Path]:
        return [f for f in sorted(repo.rglob("*")) if f.is_file() and f.name[0] != "."]

    def describe(self, repo: pathlib.Path, file: pathlib.Path, form: str) -> dict:
        data, name = file.read_bytes(), file.relative_to(repo).as_posix()
        sha256 = hashlib.sha256(data).hexdigest()
        if form == "tree":
            out = {"type": "file", "path": name, "size": len(data), "oid": blob_of(data)}
            lfs = {"oid": sha256, "size": len(data), "pointerSize": 130}
        else:
            out = {"rfilename": name, "size": len(data), "blobId": blob_of(data)}
            lfs = {"sha256": sha256, "size": len(data), "pointerSize": 130}
        return {**out, "lfs": lfs} if name.endswith(LFS) else out

    def resolve(self, parts: list[str]) -> None:
        kind = "models"
        if parts[0] == "datasets":
            kind, parts = "datasets", parts[1:]
        repo = self.repo(kind, parts[:2])
        if not repo or not self.is_revision(repo, urllib.parse.unquote(parts[3])):
            return
        if repo.name == "gated" and self.token() != "hf_good":
            self.refuse(403 if self.token() else 401, "GatedRepo", "Access to it is restricted.")
            return
        file = repo / urllib.parse.unquote("/".join(parts[4:]))
        if not file.is_file():
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        data = file.read_bytes()
        commit = {"X_Repo_Commit": commit_of(repo)}
        if file.name.endswith(LFS):
            self.answer(
                302,
                Location=self.server.cdn + urllib.parse.quote(str(file.relative_to(ROOT))),
                X_Linked_Size=str(len(data)),
                X_Linked_Etag=f'"{hashlib.sha256(data).hexdigest()}"',
                **commit,
            )
        else:
            self.send_file(file, "hub", ETag=f'"{blob_of(data)}"', **commit)

    def send_file(self, file: pathlib.Path, kind: str, **headers: str) -> None:
        data = file.read_bytes()
        fault = self.fault(kind) if self.command == "GET" else []
        status, begin = 200, 0
        if self.fails(fault):
            return
        if self.headers.get("Range") and fault[:1] != ["whole"]:
            begin = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            if begin >= len(data):
                self.answer(416, Content_Range=f"bytes */{len(data)}")
                return
            begin -= fault[:1] == ["other"]
            status = 206
            headers["Content_Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        body = data[begin:]
        if fault[:1] == ["flip"]:
            body = bytes([body[0] ^ 1]) + body[1:]
        elif fault[:1] == ["short"]:
            body = body[: -int(fault[1])]
        elif fault[:1] == ["long"]:
            body += b"!"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault[:1] == ["cut"]:
            self.wfile.write(body[: int(fault[1])])
            self.close_connection = True
        elif fault[:1] == ["stall"]:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(float(fault[1]))
            self.wfile.write(body[len(body) // 2 :])
        elif fault[:1] == ["slow"]:
            for at in range(0, len(body), 65536):
                self.wfile.write(body[at : at + 65536])
                time.sleep(0.1)
        else:
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A server with a role; clients that leave early are no event."""

    daemon_threads = True

    def __init__(self, role: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.role = role
        self.address = f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request, client_address):
        pass


def main() -> None:
    hub, cdn = Server("hub"), Server("cdn")
    hub.cdn = cdn.address
    threading.Thread(target=cdn.serve_forever, daemon=True).start()
    temporary = ROOT / "address.tmp"
    temporary.write_text(hub.address.rstrip("/"))
    temporary.rename(ROOT / "address")
    hub.serve_forever()


if __name__ == "__main__":
    main()
