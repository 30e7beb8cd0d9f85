"""A strict little GitHub on loopback: the calls that the scripts make, and nothing else.

Tokens carry the permissions of the job they were made for, bodies have GitHub's limit, and what is missing in a request
(a version, a user agent) is refused, so that a script that works here asks GitHub as it wants to be asked.
"""

import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LIMIT = 65536


class GitHub:
    def __init__(self, repository):
        self.repository = repository
        self.tokens, self.comments, self.pulls, self.releases, self.log = {}, {}, {}, {}, []
        self.next = 100
        self.lock = threading.Lock()
        self.bot = "github-actions[bot]"
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do(self):
                n = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(n) if n else b""
                with hub.lock:
                    status, answer = hub.answer(self.command, self.path, self.headers, body)
                    hub.log.append((self.command, self.path, status))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                if status == 204:
                    data = b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def token(self, permissions, repository=None):
        token = "not-a-secret-" + secrets.token_hex(12)
        self.tokens[token] = (dict(permissions), repository or self.repository)
        return token

    def number(self):
        self.next += 1
        return self.next

    def answer(self, method, target, headers, body):
        def no(status, why):
            return status, {"message": why}

        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            return no(401, "Bad credentials")
        if not headers.get("User-Agent") or headers["User-Agent"].startswith("curl/"):
            return no(403, "Request forbidden by administrative rules. Say who asks.")
        if headers.get("X-GitHub-Api-Version") != "2022-11-28":
            return no(400, "no version of the API")
        permissions, repository = self.tokens[token]
        url = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(url.query, strict_parsing=bool(url.query)).items()}
        m = re.fullmatch(r"/repos/([^/]+/[^/]+)/(.*)", url.path)
        if not m:
            return no(404, "Not Found")
        repo, path = m.groups()

        def may(*wanted):
            return repo == repository and any(permissions.get(n) in levels for n, levels in wanted)

        write, read = ("write",), ("read", "write")
        data = {}
        if body:
            if headers.get("Content-Type") != "application/json":
                return no(415, "Unsupported Media Type")
            data = json.loads(body)
        # The limit is on characters; the stricter way of counting is taken, UTF-16 units.
        if len(data.get("body", "").encode("utf-16-le")) // 2 > LIMIT:
            return no(422, "Validation Failed: body is too long (maximum is 65536 characters)")

        def page(items):
            size, n = int(query.get("per_page", 30)), int(query.get("page", 1))
            return 200, items[(n - 1) * size:n * size]

        if m := re.fullmatch(r"issues/(\d+)/comments", path):
            of = int(m.group(1))
            if method == "GET":
                if not may(("issues", read), ("pull-requests", read)):
                    return no(403, "Resource not accessible by integration")
                return page([c for c in self.comments.values() if c["of"] == of])
            if method == "POST":
                if not may(("issues", write), ("pull-requests", write)):
                    return no(403, "Resource not accessible by integration")
                if not data.get("body"):
                    return no(422, "body can't be blank")
                id = self.number()
                self.comments[id] = {"id": id, "of": of, "body": data["body"], "user": {"login": self.bot, "type": "Bot"}}
                return 201, self.comments[id]
        if m := re.fullmatch(r"issues/comments/(\d+)", path):
            id = int(m.group(1))
            if not may(("issues", write), ("pull-requests", write)):
                return no(403, "Resource not accessible by integration")
            if id not in self.comments:
                return no(404, "Not Found")
            if method == "PATCH":
                self.comments[id]["body"] = data["body"]
                return 200, self.comments[id]
            if method == "DELETE":
                del self.comments[id]
                return 204, {}
        if path == "pulls":
            if method == "GET":
                if not may(("pull-requests", read)):
                    return no(403, "Resource not accessible by integration")
                found = [p for p in self.pulls.values()
                         if p["state"] == query.get("state", "open")
                         and query.get("head", p["label"]) == p["label"]
                         and query.get("base", p["base"]["ref"]) == p["base"]["ref"]]
                return page(found)
            if method == "POST":
                if not may(("pull-requests", write)):
                    return no(403, "Resource not accessible by integration")
                if set(data) != {"title", "body", "head", "base"}:
                    return no(422, f"Validation Failed: {sorted(data)}")
                label = f"{repository.split('/')[0]}:{data['head']}"
                if any(p["label"] == label and p["state"] == "open" for p in self.pulls.values()):
                    return no(422, f"A pull request already exists for {label}.")
                n = self.number()
                self.pulls[n] = {"number": n, "state": "open", "label": label, "title": data["title"], "body": data["body"],
                                 "head": {"ref": data["head"], "repo": {"full_name": repository}}, "base": {"ref": data["base"]}}
                return 201, self.pulls[n]
        if (m := re.fullmatch(r"pulls/(\d+)", path)) and method == "PATCH":
            if not may(("pull-requests", write)):
                return no(403, "Resource not accessible by integration")
            pull = self.pulls.get(int(m.group(1)))
            if pull is None:
                return no(404, "Not Found")
            if not set(data) <= {"title", "body", "state", "base"}:
                return no(422, f"Validation Failed: {sorted(data)}")
            base = data.pop("base", None)
            pull.update(data)
            if base:
                pull["base"] = {"ref": base}
            return 200, pull
        # Releases of another, public repository.
        if m := re.fullmatch(r"releases/tags/(.+)", path):
            found = self.releases.get((repo, m.group(1)))
            if found is None:
                return no(404, "Not Found")
            return 200, {"tag_name": m.group(1), "assets": [{"id": i, "name": n} for i, (n, _) in found.items()]}
        if m := re.fullmatch(r"releases/assets/(\d+)", path):
            if headers.get("Accept") != "application/octet-stream":
                return no(400, "asked for JSON")
            for (r, _), found in self.releases.items():
                if r == repo and int(m.group(1)) in found:
                    return 200, found[int(m.group(1))][1]
        return no(404, "Not Found")
