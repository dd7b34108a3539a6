"""Requests to every HTTP route, valid ones as templates, and what the server may answer to what becomes of them."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from random import Random
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from tests.fuzz.mutation import VALUES, distort, noise, spoil

JSON, MSGPACK = "application/json", "application/msgpack"
FLOAT32, S16 = "application/vnd.avf.float32", "application/vnd.avf.s16"
BELIEF, PROBLEM, EVENTS = "application/vnd.avf.belief", "application/problem+json", "text/event-stream"
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "PROPFIND")
LONGEST_PATH = 4000
STEPS = {"seq": 1, "epoch": 1, "observations": [[0.0, 1.0, 0.5, None, 1.0, 0.0], None]}
FORECAST = {"horizon": 2, "paths": 3, "quantiles": [0.5, 1.0], "with_paths": True}


@dataclass(frozen=True)
class Request:
    """A request; `{}` in the path is a session's id. `value` is what the body says, where that is a message."""

    method: str
    path: str
    media_type: str = ""
    body: bytes = b""
    value: object = None


def message(path: str, value: object) -> list[Request]:
    """A message to this path, in both forms."""
    return [
        Request("POST", path, JSON, json.dumps(value).encode(), value),
        Request("POST", path, MSGPACK, msgspec.msgpack.encode(value), value),
    ]


ONE = "/v1/sessions/{}"
TEMPLATES = [
    *(Request("GET", path) for path in ("/", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs")),
    *(Request("GET", path) for path in ("/v1/models", "/v1/models/tiny", "/v1/status")),
    *(Request("GET", f"/v1/sessions?limit=3{more}") for more in ("", "&cursor=00064b1d8f5c5e00.abc")),
    *(Request("GET", ONE + more) for more in ("", "/snapshot", "/estimate?wait_seq=2&timeout=0.01&with=observation")),
    *(Request("GET", f"{ONE}/history?{query}") for query in ("cursor=1-1&limit=5", "newest=true&limit=2")),
    *(Request("GET", path) for path in ("/v1/events?interval=0.1", f"{ONE}/events?interval=0&with=observation")),
    *(Request("POST", f"{ONE}/reset"), Request("DELETE", ONE)),
    *message("/v1/sessions", {"model": "tiny", "seed": 17, "iterations": 3, "durability": "none"}),
    *message("/v1/sessions", {"model": "tiny", "audio": {"rate": 16000, "encoding": "s16", "channels": 1}}),
    *message(f"{ONE}/steps", STEPS),
    *message(f"{ONE}/forecast", FORECAST),
    *message(f"{ONE}/fork", {"seed": 3, "iterations": 2, "durability": "group"}),
    *message("/v1/tokens", {"lifetime_s": 60.0, "read_only": True}),
    *message(f"{ONE}/tokens", {"lifetime_s": 60.0}),
    Request("POST", f"{ONE}/steps?seq=1&epoch=1", FLOAT32, np.ones((2, 6), dtype="<f4").tobytes()),
    Request("POST", f"{ONE}/samples?offset=0&epoch=1", S16, np.arange(12, dtype="<i2").tobytes()),
    Request("POST", "/v1/sessions/restore?seed=1&durability=group", BELIEF),
]


class Requests:
    """A client that asks what makes no sense. `answers` counts statuses; a fault of the server is an AssertionError."""

    def __init__(self, url: str, random: Random) -> None:
        self._host = urlsplit(url).netloc
        self._random = random
        self._connection = HTTPConnection(self._host, timeout=60)
        self.answers: Counter[int] = Counter()
        self._session = self._open()
        self._snapshot = self._answer(Request("GET", f"/v1/sessions/{self._session}/snapshot"), {})[1]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self) -> None:
        """One request, and its answer."""
        template = self._random.choice(TEMPLATES)
        if template.media_type == BELIEF:
            template = replace(template, body=self._snapshot)
        request = self._mutated(template)
        if self._random.random() < 0.05:
            request = replace(request, method=self._random.choice(METHODS))
        status, _ = self._answer(request, self._headers(request))
        self.answers[status] += 1
        gone = status == 404 or (request.method == "DELETE" and status == 204)
        if gone and self._answer(Request("GET", f"/v1/sessions/{self._session}"), {})[0] == 404:
            self._session = self._open()

    def _open(self) -> str:
        opened = Request("POST", "/v1/sessions", JSON, b'{"model": "tiny", "seed": 1}')
        status, body = self._answer(opened, {"content-type": JSON})
        assert status == 201, body
        return str(json.loads(body)["id"])

    def _mutated(self, request: Request) -> Request:
        random, kind = self._random, self._random.random()
        path = request.path.format(self._session)
        if kind < 0.1:
            return replace(request, path=path)
        if kind < 0.3:
            spoilt = quote(spoil(random, path[1:].encode()), safe="/?=&.-_~%")
            return replace(request, path="/" + spoilt[:LONGEST_PATH])
        if kind < 0.4:
            name = random.choice(
                ("seq", "epoch", "limit", "cursor", "timeout", "wait_seq", "interval", "with", "token")
            )
            joined = f"{path}{'&' if '?' in path else '?'}{name}={quote(str(random.choice(VALUES)))}"
            return replace(request, path=joined[:LONGEST_PATH])
        if kind < 0.7 and request.value is not None:
            return replace(request, path=path, body=self._written(request.media_type, distort(random, request.value)))
        body = noise(random) if kind < 0.75 else spoil(random, request.body)
        return replace(request, path=path, body=body)

    def _written(self, media_type: str, value: object) -> bytes:
        try:
            return msgspec.msgpack.encode(value) if media_type == MSGPACK else json.dumps(value).encode()
        except (OverflowError, UnicodeEncodeError):
            return json.dumps(value).encode()

    def _headers(self, request: Request) -> dict[str, str]:
        random = self._random
        headers = {"content-type": request.media_type} if request.media_type else {}
        if random.random() < 0.1:
            headers["content-type"] = random.choice((JSON, MSGPACK, FLOAT32, S16, BELIEF, "text/plain", "; q", ""))
        if random.random() < 0.2:
            headers["accept"] = random.choice((JSON, MSGPACK, "*/*", "text/*;q=x", "application/*;q=0", "a,b,c", ""))
        if random.random() < 0.1:
            name = random.choice(("last-event-id", "if-none-match", "x-forwarded-prefix", "authorization", "range"))
            headers[name] = random.choice(("1-1", "*", 'W/"1.1"', "/avf", "Bearer avft1.a.b", "Bearer", "x" * 900, '"'))
        return headers

    def _answer(self, request: Request, headers: dict[str, str]) -> tuple[int, bytes]:
        """What the server answers, checked. Of a stream of events the beginning is read, and no more."""
        method = request.method
        self._connection.request(method, request.path, body=request.body or None, headers=headers)
        response = self._connection.getresponse()
        kind = response.headers.get_content_type()
        asked = f"{method} {request.path} {headers} {request.body[:300]!r}"
        if kind == EVENTS:
            response.read(1)
            self._connection.close()
            return response.status, b""
        body = response.read()
        assert response.status < 500, f"{response.status} to {asked}: {body[:500]!r}"
        if response.status >= 400 and method != "HEAD":
            assert kind == PROBLEM, f"{response.status} of type {kind} to {asked}: {body[:500]!r}"
        return response.status, body
